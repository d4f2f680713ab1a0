package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A stand-in for tools/etcdbench: a shell that answers lines.
func TestEtcdBench(t *testing.T) {
	program := filepath.Join(t.TempDir(), "etcdbench")
	script := `#!/bin/sh
while read -r line; do
	case "$line" in
	*start*) echo '{"version":"3.6.8"}' ;;
	*put*) echo '{"ops":100,"seconds":0.5,"p50_ms":1.5}' ;;
	*get*) echo '{"ops":0,"seconds":0,"error":"no leader"}' ;;
	*) exit 1 ;;
	esac
done
`
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	e, err := startEtcd(program, t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	if e.version != "3.6.8" {
		t.Errorf("version %q, want 3.6.8", e.version)
	}
	if a, err := e.ask(etcdQuestion{Op: "put", Clients: 1, Seconds: 1}); err != nil || a.Ops != 100 || a.Seconds != 0.5 || a.P50 != 1.5 {
		t.Errorf("put = %+v, %v", a, err)
	}
	if _, err := e.ask(etcdQuestion{Op: "get"}); err == nil || !strings.Contains(err.Error(), "no leader") {
		t.Errorf("get = %v, want its error", err)
	}
	if _, err := e.ask(etcdQuestion{Op: "memory"}); err == nil {
		t.Error("a program that ended answered")
	}
}

func TestLedgerComparisonIsChecked(t *testing.T) {
	program := filepath.Join(t.TempDir(), "etcdbench")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"--entries 5", "--accounts 2", "--rounds 0", "--only everything"} {
		code, _, stderr := command(t, strings.Fields("bench ledger --etcd "+program+" "+more)...)
		if code == 0 || stderr == "" {
			t.Errorf("%s: got code %d, %q, want a refusal", more, code, stderr)
		}
	}
}
