//go:build clients

package acceptance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// installed gives a folder in the user's cache in which install has run once for the given
// files, so that a second run of the tests downloads nothing. The files (paths below testdata)
// are copied there first; the folder's name has their hash, so a changed lock file means a new
// folder. Concurrent runs wait for each other.
func installed(t *testing.T, what string, files []string, install func(dir string)) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string][]byte{}
	sum := sha256.New()
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join("testdata", f))
		if err != nil {
			t.Fatal(err)
		}
		contents[filepath.Base(f)] = b
		fmt.Fprintf(sum, "%s %d\n", f, len(b))
		sum.Write(b)
	}
	root := filepath.Join(cache, "hordenode-acceptance")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, what+"-"+hex.EncodeToString(sum.Sum(nil))[:16])

	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close() // which gives the lock back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	complete := filepath.Join(dir, "complete")
	if _, err := os.Stat(complete); err == nil {
		return dir
	}
	// An installation that was cut short is thrown away.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	install(dir)
	if err := os.WriteFile(complete, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s installed in %s", what, time.Since(began).Round(time.Second))
	return dir
}

// npmPackages installs the packages that the lock file of testdata/<name> pins.
func npmPackages(t *testing.T, name string) string {
	t.Helper()
	return installed(t, name, []string{name + "/package.json", name + "/package-lock.json"}, func(dir string) {
		run(t, dir, nil, "npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	})
}

// run runs a command to its end and returns what it printed; the test ends if it fails.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := tryRun(t, dir, env, name, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, tail(out, 80))
	}
	return out
}

// tryRun is run for commands that may fail. Nothing is on their standard input, and they end
// with the test.
func tryRun(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// lastLine is where the clients' scripts print their counts.
func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

// A background is a helper of a test: a worker, a server. It is ended politely and then waited
// for, at the latest when the test ends.
type background struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr *printed
	exited chan struct{}
}

// inBackground starts a command that runs until stop.
func inBackground(t *testing.T, dir string, env []string, name string, args ...string) *background {
	t.Helper()
	b := &background{t: t, name: name, stderr: &printed{}, exited: make(chan struct{})}
	b.cmd = exec.Command(name, args...)
	b.cmd.Dir = dir
	b.cmd.Env = append(os.Environ(), env...)
	b.cmd.Stdout, b.cmd.Stderr = &b.stdout, b.stderr
	// A group of its own: wrappers like unshare have children.
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = b.cmd.Wait() // it is ended by a signal; the tests look at what it did
		close(b.exited)
	}()
	t.Cleanup(func() {
		b.stop()
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, tail(b.stderr.String(), 40))
		}
	})
	return b
}

// stop ends it and returns what it printed on standard output.
func (b *background) stop() string {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-b.exited:
			return b.stdout.String()
		default:
		}
		_ = syscall.Kill(-b.cmd.Process.Pid, s) // it may have ended meanwhile
		select {
		case <-b.exited:
		case <-time.After(20 * time.Second):
		}
	}
	<-b.exited
	return b.stdout.String()
}
