package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hordenode/node"
)

// fakeNode answers on the control socket of a data directory.
type fakeNode struct {
	dir    string
	asked  string // method, path and body of the last question
	status int
	answer any
}

func newFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	dir, err := os.MkdirTemp("", "hn") // t.TempDir may be too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &fakeNode{dir: dir, status: 200}
	l, err := net.Listen("unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		f.asked = strings.TrimSpace(r.Method + " " + r.URL.EscapedPath() + " " + string(b))
		w.WriteHeader(f.status)
		json.NewEncoder(w).Encode(f.answer)
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return f
}

func TestOperatorsCommands(t *testing.T) {
	members := []node.MemberStatus{
		{ID: "id-a", Name: "oak", Role: "leader", Voter: true, Active: true, URL: "http://oak", Connected: true},
		{ID: "id-b", Name: "elm", Role: "learner", Active: true, URL: "http://elm", RTTMillis: 12.34, Connected: true},
	}
	status := node.Status{
		Name: "oak", ID: "id-a", Version: "1.2", Role: "voter", Leader: "elm", AppliedIndex: 77, CommitIndex: 78, ChainHead: "c0ffee",
		UptimeSeconds: 3661, StalenessMS: 1500, Offers: 5, Requests: 3, Workers: 4, Outbox: 2,
		Peers: []node.PeerStatus{{Name: "elm", Connected: true, RTTMillis: 1.25}, {Name: "ash"}},
	}
	user := createdUser{ID: 7, Alias: "bob#7", APIKey: "secret-secret-secret-x"}
	for _, tt := range []struct {
		args   string
		answer any
		asked  string
		out    []string // each in the output
	}{
		{"invite", map[string]string{"token": "T0KEN"}, `POST /invite {"ttl_seconds":86400,"voter":true}`, []string{"T0KEN\n"}},
		{"invite --ttl 90m --learner", map[string]string{"token": "T0KEN"}, `POST /invite {"ttl_seconds":5400,"voter":false}`, []string{"T0KEN\n"}},
		{"members", members, "GET /members", []string{"NAME", "oak", "leader", "12.3 ms", "learner (never votes)", "id-b"}},
		{"members list --json", members, "GET /members", []string{`"rtt_ms": 12.34`, `"name": "oak"`}},
		{"members --json", members, "GET /members", []string{`"rtt_ms": 12.34`}},
		{"members promote elm", map[string]string{"message": "OK"}, "POST /members/elm/promote", []string{"elm may vote now\n"}},
		{"members demote elm", map[string]string{"message": "OK"}, "POST /members/elm/demote", []string{"elm votes no more\n"}},
		{"members remove a/b", map[string]string{"message": "OK"}, "POST /members/a%2Fb/remove", []string{"a/b was removed\n"}},
		{"members remove elm --json", map[string]string{"message": "OK"}, "POST /members/elm/remove", []string{`"message": "OK"`}},
		{"status", status, "GET /status", []string{"oak (id-a)", "1h1m1s", "77 (committed 78", "c0ffee", "1.5s", "elm  1.2 ms", "ash  not connected", "2 waiting"}},
		{"status --json", status, "GET /status", []string{`"applied_index": 77`, `"chain_head": "c0ffee"`}},
		{"user create bob --trusted --kudos 50", user, `POST /users {"name":"bob","moderator":false,"admin":false,"trusted":true,"kudos":50}`,
			[]string{"alias    bob#7\n", "API key  secret-secret-secret-x\n"}},
		{"user create bob --json", user, `POST /users {"name":"bob","moderator":false,"admin":false,"trusted":false,"kudos":0}`,
			[]string{`"api_key": "secret-secret-secret-x"`}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			f := newFakeNode(t)
			f.answer = tt.answer
			code, out, stderr := command(t, append(strings.Fields(tt.args), "--data", f.dir)...)
			if code != 0 || stderr != "" {
				t.Fatalf("got code %d and %q", code, stderr)
			}
			if f.asked != tt.asked {
				t.Errorf("asked: got %s, want %s", f.asked, tt.asked)
			}
			for _, want := range tt.out {
				if !strings.Contains(out, want) {
					t.Errorf("output lacks %q:\n%s", want, out)
				}
			}
			if strings.HasPrefix(tt.args, "invite") && out != "T0KEN\n" {
				t.Errorf("got %q, want the token alone: scripts read it", out)
			}
		})
	}
}

func TestARefusalIsShownAsItIs(t *testing.T) {
	f := newFakeNode(t)
	f.status, f.answer = 409, map[string]string{"message": "The last voter cannot be removed."}
	code, out, stderr := command(t, "members", "remove", "oak", "--data", f.dir)
	if code != exitError || out != "" || stderr != "hordenode: The last voter cannot be removed.\n" {
		t.Errorf("got %d, %q, %q", code, out, stderr)
	}
}

func TestASocketThatACrashLeft(t *testing.T) {
	f := newFakeNode(t)
	path := filepath.Join(f.dir, "gone")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(path, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	code, _, stderr := command(t, "status", "--data", path)
	if code != exitError || !strings.Contains(stderr, "is not running") {
		t.Errorf("got %d, %q, want that it is not running", code, stderr)
	}
}
