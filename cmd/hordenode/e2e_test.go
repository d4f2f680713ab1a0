package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hordenode/cmd/hordenode/internal/rest"
	"hordenode/node"
)

// shortTemp makes a directory whose path leaves room for a socket's name.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A process is a node run by the program itself.
type process struct {
	dir string
	cmd *exec.Cmd

	mu  sync.Mutex
	out bytes.Buffer // stdout
	err bytes.Buffer
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (p *process) stdout() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{dir: filepath.Join(shortTemp(t), "d")}
	p.cmd = exec.Command(os.Args[0], append([]string{"run", "--data", p.dir, "--api", "127.0.0.1:0", "--p2p", "/ip4/127.0.0.1/tcp/0"}, args...)...)
	p.cmd.Env = append(os.Environ(), "HORDENODE_TEST_BE_THE_PROGRAM=1")
	p.cmd.Stdout, p.cmd.Stderr = lockedWriter{&p.mu, &p.out}, lockedWriter{&p.mu, &p.err}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails if it has ended, as it should have
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("log of the node:\n%s", p.err.String())
		}
	})
	return p
}

// status waits until the node serves and holds.
func (p *process) status(t *testing.T, what string, holds func(node.Status) bool) node.Status {
	t.Helper()
	var s node.Status
	var stderr string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // a process cannot be waited for otherwise
		code, out, e := command(t, "status", "--data", p.dir, "--json")
		stderr = e
		if code == 0 && json.Unmarshal([]byte(out), &s) == nil && (&rest.Client{Base: s.URL}).Heartbeat(t.Context()) == nil && holds(s) {
			return s
		}
	}
	t.Fatalf("the node never came to %s: last %+v %s", what, s, stderr)
	return s
}

func serves(node.Status) bool { return true }

// stop sends the signal and expects a clean end in time.
func (p *process) stop(t *testing.T) {
	t.Helper()
	start := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: got %v, want exit code 0", err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("stopping took %v, want at most 10 s", d)
	}
}

// The life of a federation as an operator sees it.
func TestFoundInviteJoinStop(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	oak := startProcess(t, "--name", "oak")
	first := oak.status(t, "serve", serves)
	if first.Role != "leader" || first.Name != "oak" {
		t.Errorf("got %+v, want oak the leader", first)
	}
	if !regexp.MustCompile(`[A-Za-z0-9_-]{22}`).MatchString(oak.stdout()) {
		t.Errorf("the first start printed no API key:\n%s", oak.stdout())
	}

	code, token, stderr := command(t, "invite", "--data", oak.dir)
	if code != 0 {
		t.Fatal(stderr)
	}
	elm := startProcess(t, "--name", "elm", "--join", strings.TrimSpace(token))
	elm.status(t, "follow oak", func(s node.Status) bool { return s.Leader == "oak" && len(s.Peers) == 1 && s.Peers[0].Connected })

	code, out, stderr := command(t, "user", "create", "bob", "--kudos", "70", "--data", elm.dir, "--json")
	var u createdUser
	if code != 0 || json.Unmarshal([]byte(out), &u) != nil || !strings.HasPrefix(u.Alias, "bob#") || len(u.APIKey) != 22 {
		t.Fatalf("got %d, %q, %q, want bob with a key of 22 characters", code, out, stderr)
	}
	// A key made at one node works at the other at once.
	if got, err := (&rest.Client{Base: first.URL, Key: u.APIKey}).FindUser(t.Context()); err != nil || got.Username != u.Alias || got.Kudos < 70 {
		t.Errorf("bob at the other node: got %+v, %v", got, err)
	}
	_, out, _ = command(t, "members", "--data", oak.dir)
	if !strings.Contains(out, "oak") || !strings.Contains(out, "elm") {
		t.Errorf("members:\n%s", out)
	}
	elm.stop(t)
	oak.stop(t)
	if strings.Contains(oak.err.String()+elm.err.String(), u.APIKey) || strings.Contains(elm.err.String(), strings.TrimSpace(token)) {
		t.Error("a secret is in the logs")
	}
}

func TestDemoLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes")
	}
	tmp := shortTemp(t)
	t.Setenv("TMPDIR", tmp)
	code, out, stderr := command(t, "demo", "--duration", "6s", "--speed", "0")
	if code != 0 {
		t.Fatalf("got code %d, %s\n%s", code, stderr, out)
	}
	last := regexp.MustCompile(`After \d+s: (\d+) jobs done \((\d+) text, (\d+) image\), (\d+) crossed`).FindStringSubmatch(out)
	if last == nil || last[2] == "0" || last[3] == "0" || last[4] == "0" {
		t.Errorf("want jobs of both kinds, some across nodes:\n%s", out)
	}
	if strings.Contains(out, "trouble") {
		t.Errorf("something went wrong:\n%s", out)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("got %v (%v), want nothing left", left, err)
	}
}
