package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
)

// etcdBench is tools/etcdbench as a child process: it starts three members of etcd and answers
// one question at a time.
type etcdBench struct {
	version string // of etcd
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
}

// etcdQuestion and etcdAnswer are the lines that are exchanged (tools/etcdbench/main.go).
type etcdQuestion struct {
	Op      string  `json:"op"`
	Dir     string  `json:"dir,omitempty"`
	Clients int     `json:"clients,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Keys    int     `json:"keys,omitempty"`
	Stale   bool    `json:"stale,omitempty"`
}

type etcdAnswer struct {
	Ops     int     `json:"ops"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Errors  int     `json:"errors"`
	Bytes   int64   `json:"bytes"`
	Write   float64 `json:"write_ms"`
	Read    float64 `json:"read_ms"`
	Version string  `json:"version"`
	Error   string  `json:"error"`
}

// startEtcd starts the members with data and logs in dir.
func startEtcd(program, dir string, stderr io.Writer) (_ *etcdBench, err error) {
	program, err = filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	e := &etcdBench{cmd: exec.Command(program)}
	e.cmd.Stderr = stderr
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	e.out = json.NewDecoder(out)
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	a, err := e.ask(etcdQuestion{Op: "start", Dir: dir})
	if err != nil {
		e.stop()
		return nil, err
	}
	e.version = a.Version
	return e, nil
}

// ask waits for the answer.
func (e *etcdBench) ask(q etcdQuestion) (a etcdAnswer, err error) {
	if err := json.NewEncoder(e.in).Encode(q); err != nil {
		return a, fmt.Errorf("ask etcdbench: %w", err)
	}
	if err := e.out.Decode(&a); err != nil {
		return a, fmt.Errorf("etcdbench gave no answer to %s: %w", q.Op, err)
	}
	if a.Error != "" && a.Ops == 0 {
		return a, fmt.Errorf("etcdbench, %s: %s", q.Op, a.Error)
	}
	return a, nil
}

// stop ends the members.
func (e *etcdBench) stop() {
	_ = e.in.Close() // the end of its input ends it, and it ends its members
	_ = e.cmd.Wait() // what it measured has been told
}
