package main

import (
	"strings"
	"testing"
)

// TestAdminsCommands: what the commands about accounts, workers and members ask the node for, and
// what they say when it was done.
func TestAdminsCommands(t *testing.T) {
	ok := map[string]string{"message": "OK"}
	for _, tt := range []struct {
		args   []string
		answer any
		asked  string
		out    string // in the output
	}{
		{[]string{"user", "rename", "alice#7", "carol", "--reason", "asked for"}, map[string]any{"alias": "carol#7"},
			`POST /users/7/rename {"name":"carol","reason":"asked for"}`, "alice#7 is carol#7 now\n"},
		{[]string{"user", "merge", "7", "bob#8"}, map[string]any{"alias": "bob#8", "kudos": 12},
			`POST /users/7/merge {"into":8}`, "7 was merged into bob#8, which has 12 kudos\n"},
		{[]string{"user", "reset-key", "7"}, map[string]any{"api_key": "K3Y"}, `POST /users/7/reset-key {}`, "API key  K3Y\n"},
		{[]string{"user", "move-worker", "a/b", "bob#8"}, ok, `POST /workers/a%2Fb/move {"to":8}`, "a/b belongs to bob#8 now\n"},
		{[]string{"members", "suspend", "elm", "--reason", "floods"}, ok, `POST /members/elm/suspend {"reason":"floods"}`, "elm is suspended\n"},
		{[]string{"members", "expel", "elm"}, ok, `POST /members/elm/expel {"reason":""}`, "elm was expelled\n"},
		{[]string{"members", "readmit", "elm"}, ok, `POST /members/elm/readmit {"reason":""}`, "elm is a member again\n"},
		{[]string{"members", "expel", "elm", "--json"}, ok, `POST /members/elm/expel {"reason":""}`, `"message": "OK"`},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			f := newFakeNode(t)
			f.answer = tt.answer
			code, out, stderr := command(t, append(tt.args, "--data", f.dir)...)
			if code != 0 || stderr != "" {
				t.Fatalf("got code %d and %q", code, stderr)
			}
			if f.asked != tt.asked {
				t.Errorf("asked: got %s, want %s", f.asked, tt.asked)
			}
			if !strings.Contains(out, tt.out) {
				t.Errorf("output lacks %q:\n%s", tt.out, out)
			}
		})
	}
}

// TestAdminsMistakes: what cannot be meant is told before the node is asked.
func TestAdminsMistakes(t *testing.T) {
	for _, args := range [][]string{
		{"user", "rename", "alice", "carol"},
		{"user", "merge", "7", "nobody"},
		{"user", "reset-key", "#"},
		{"ledger", "reverse", "12/x/1", "--yes"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			f := newFakeNode(t)
			code, out, stderr := command(t, append(args, "--data", f.dir)...)
			if code == 0 || out != "" || stderr == "" || f.asked != "" {
				t.Errorf("got code %d, %q, %q, and it asked %q; want a refusal that asks nobody", code, out, stderr, f.asked)
			}
		})
	}
}
