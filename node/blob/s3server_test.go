//go:build s3

package blob_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// s3Server is the real server that the suite runs against: S3 over a folder.
const s3Server = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"

// The same suite as against the server in memory, against a real one, which checks signatures.
func TestRealServer(t *testing.T) {
	bin := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "go", "install", s3Server)
	install.Dir, install.Env = bin, append(os.Environ(), "GOBIN="+bin, "GOFLAGS=-mod=mod")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("install %s: %v\n%s", s3Server, err, out)
	}
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "images"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	server := exec.Command(filepath.Join(bin, "versitygw"), "--quiet", "--port", address, "--access", "access", "--secret", "very secret",
		"posix", "--nometa", data)
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = server.Wait() // it was killed: that is its error
		if t.Failed() {
			t.Logf("the server said:\n%s", log.Bytes())
		}
	})
	endpoint := "http://" + address
	for {
		res, err := http.Get(endpoint)
		if err == nil {
			_ = res.Body.Close() // nothing of it is wanted
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the server does not answer: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	suite(t, endpoint)
	t.Run("wrong signature", func(t *testing.T) {
		s := openS3(t, endpoint)
		put, _ := s.Presign(http.MethodPut, job, time.Minute)
		if status, _, _ := bare(t, http.MethodGet, put, nil); status != http.StatusForbidden {
			t.Errorf("reading with an address to write to = %d, want 403", status)
		}
		short, _ := s.Presign(http.MethodPut, job, time.Second)
		deadline := time.Now().Add(time.Minute)
		for status := 0; status != http.StatusForbidden; {
			if status, _, _ = bare(t, http.MethodPut, short, []byte("x")); time.Now().After(deadline) {
				t.Fatalf("an expired address = %d, want 403", status)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
}
