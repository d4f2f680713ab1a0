//go:build clients || faults || conformance

package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is built once by TestMain, or the one that HORDENODE_BINARY names.
var binary string

func TestMain(m *testing.M) {
	if binary = os.Getenv("HORDENODE_BINARY"); binary != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "hordenode-acceptance")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "hordenode")
	build := exec.Command("go", "build", "-o", binary, "hordenode/cmd/hordenode")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// A process is one `hordenode run`.
type process struct {
	t     *testing.T
	name  string
	args  []string // of run, without --join
	data  string
	url   string
	env   []string // besides that of the test
	admin string   // where metrics are; empty: nowhere
	wrap  []string // command that runs the binary, such as ip netns exec; may be empty

	mu     sync.Mutex
	cmd    *exec.Cmd
	out    *printed
	exited chan struct{}
}

// printed is what a process has written so far.
type printed struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *printed) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *printed) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// startFirst founds a federation; startJoined joins the one of the given process.
func startFirst(t *testing.T, name string, flags ...string) *process {
	p := newProcess(t, name, flags...)
	p.start()
	return p
}

func startJoined(t *testing.T, name string, inviter *process, flags ...string) *process {
	token := strings.TrimSpace(inviter.command("invite"))
	p := newProcess(t, name, flags...)
	p.start("--join", token)
	return p
}

// federation starts n processes, joined as a new user would, and waits until as many as
// possible vote. flags are further ones of run.
func startFederation(t *testing.T, n int, flags ...string) []*process {
	var ps []*process
	for i := range n {
		ps = append(ps, newProcess(t, string(rune('a'+i)), flags...))
	}
	found(ps)
	return ps
}

// found starts the first process, has the others join it, and waits until as many as possible
// vote.
func found(ps []*process) {
	ps[0].t.Helper()
	ps[0].start()
	for _, p := range ps[1:] {
		p.start("--join", strings.TrimSpace(ps[0].command("invite")))
	}
	n := len(ps)
	want := 1
	if n >= 3 {
		want = 3
	}
	ps[0].eventually(120*time.Second, "voters", func() error {
		if got := ps[0].voters(); got != want {
			return fmt.Errorf("%d members vote, want %d", got, want)
		}
		return nil
	})
}

func newProcess(t *testing.T, name string, flags ...string) *process {
	api, p2p := freePort(t), freePort(t)
	p := &process{
		t: t, name: name, data: filepath.Join(t.TempDir(), name),
		url: fmt.Sprintf("http://127.0.0.1:%d", api),
	}
	p.args = append([]string{
		"run", "--data", p.data, "--name", name,
		"--api", fmt.Sprintf("127.0.0.1:%d", api),
		"--p2p", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", p2p),
		"--p2p", fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", p2p),
	}, flags...)
	t.Cleanup(p.cleanup)
	return p
}

func (p *process) start(extra ...string) {
	p.t.Helper()
	p.launch(extra...)
	p.eventually(20*time.Second, "heartbeat", func() error {
		res, err := http.Get(p.url + "/api/v2/status/heartbeat")
		if err != nil {
			select {
			case <-p.exited:
				p.t.Fatalf("%s ended at start:\n%s", p.name, p.out)
			default:
			}
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// launch starts the process and does not wait until it serves.
func (p *process) launch(extra ...string) {
	p.t.Helper()
	p.mu.Lock()
	p.out = &printed{}
	line := slices.Concat(p.wrap, []string{binary}, p.args, extra)
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Env = slices.Concat(os.Environ(), []string{"HORDE_TEST_APIKEYS=1", "HORDE_TEST_RATELIMIT_DISABLED=1"}, p.env)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.exited = make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		p.mu.Unlock()
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	go func() {
		_ = cmd.Wait() // a killed process fails by design; the tests look at what it did
		close(exited)
	}()
}

// kill ends the process as a power switch does.
func (p *process) kill() {
	p.t.Helper()
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		p.t.Fatalf("kill %s: %v", p.name, err)
	}
	<-exited
}

// stop ends the process politely and checks that it did so in time.
func (p *process) stop() {
	p.t.Helper()
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("stop %s: %v", p.name, err)
	}
	select {
	case <-exited:
	case <-time.After(10 * time.Second):
		p.t.Fatalf("%s did not stop within 10 s of SIGTERM:\n%s", p.name, p.out)
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("%s ended with %d after SIGTERM:\n%s", p.name, code, p.out)
	}
}

// halt ends the process politely, however long that takes on this machine.
func (p *process) halt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("stop %s: %v", p.name, err)
	}
	select {
	case <-p.exited:
	case <-time.After(90 * time.Second):
		p.t.Fatalf("%s goes on after SIGTERM:\n%s", p.name, p.out)
	}
}

func (p *process) cleanup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	select {
	case <-p.exited:
	default:
		_ = p.cmd.Process.Kill() // it may have ended meanwhile
		<-p.exited
	}
	if p.t.Failed() {
		p.t.Logf("output of %s:\n%s", p.name, tail(p.out.String(), 60))
	}
}

// command runs another hordenode command against this process and returns what it printed.
func (p *process) command(args ...string) string {
	p.t.Helper()
	cmd := exec.Command(binary, append(args, "--data", p.data)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("hordenode %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

type member struct {
	Name, Role string
	Voter      bool
}

func (p *process) members() []member {
	p.t.Helper()
	var ms []member
	if err := json.Unmarshal([]byte(p.command("members", "--json")), &ms); err != nil {
		p.t.Fatalf("members --json: %v", err)
	}
	return ms
}

func (p *process) voters() int {
	n := 0
	for _, m := range p.members() {
		if m.Role == "leader" || m.Role == "voter" {
			n++
		}
	}
	return n
}

// eventually retries until f returns nil; it waits for a condition, the time is only how
// long a broken build may take to fail.
func (p *process) eventually(most time.Duration, what string, f func() error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("%s: %s: %v", p.name, what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// call does one API call and decodes the answer; it returns the status, or an error when
// there was no answer.
func call(method, url, key string, body, answer any) (int, error) {
	return callWith(nil, method, url, key, body, answer)
}

// callWith is call with more headers.
func callWith(headers http.Header, method, url, key string, body, answer any) (int, error) {
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, url, rd)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("apikey", key)
	}
	maps.Copy(req.Header, headers)
	client := http.Client{Timeout: 15 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if answer != nil && res.StatusCode < 300 {
		if err := json.Unmarshal(b, answer); err != nil {
			return res.StatusCode, fmt.Errorf("%s %s: %w: %.200s", method, url, err, b)
		}
	}
	if res.StatusCode >= 300 {
		return res.StatusCode, fmt.Errorf("%s %s: %s: %.300s", method, url, res.Status, b)
	}
	return res.StatusCode, nil
}

// testUser makes an account through the test bootstrap.
func (p *process) testUser(name string, kudos int, trusted bool) (key, id string) {
	p.t.Helper()
	var a struct {
		Key string `json:"api_key"`
		ID  string `json:"user_id"`
	}
	if _, err := call("POST", p.url+"/api/v2/dev/test-user", "", map[string]any{
		"username": name, "oauth_id": "acceptance_" + name, "kudos": kudos, "trusted": trusted, "moderator": false,
	}, &a); err != nil {
		p.t.Fatal(err)
	}
	return a.Key, a.ID
}

func (p *process) kudos(id string) (float64, error) {
	var u struct{ Kudos float64 }
	_, err := call("GET", p.url+"/api/v2/users/"+id, "", nil, &u)
	return u.Kudos, err
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// serveMetrics has a process that is not started yet serve metrics.
func (p *process) serveMetrics() {
	port := freePort(p.t)
	p.admin = fmt.Sprintf("http://127.0.0.1:%d", port)
	p.args = append(p.args, "--admin-listen", fmt.Sprintf("127.0.0.1:%d", port))
}

// metric reads one of the metrics of a process that serves them.
func (p *process) metric(name string) (float64, error) {
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Get(p.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			return strconv.ParseFloat(f[1], 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}
