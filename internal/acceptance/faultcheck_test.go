//go:build faults

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A trial is a federation under load while something is wrong with it, and the accounts that
// the load moves kudos between.
type trial struct {
	t                 *testing.T
	nodes             []*process
	client, owner     string // API keys
	clientID, ownerID string
	loads             []*load
}

func newTrial(t *testing.T, nodes []*process) *trial {
	t.Helper()
	x := &trial{t: t, nodes: nodes}
	x.client, x.clientID = nodes[0].testUser("pays", 1_000_000, false)
	x.owner, x.ownerID = nodes[0].testUser("works", 1000, true)
	for _, n := range nodes {
		n.eventually(30*time.Second, "the accounts", func() error {
			_, err := n.kudos(x.ownerID)
			return err
		})
	}
	return x
}

// load starts a load at some of the nodes and waits until it moves.
func (x *trial) load(name string, nodes ...*process) *load {
	x.t.Helper()
	l := startLoad(name, nodes, x.client, x.owner)
	x.loads = append(x.loads, l)
	x.moves(l, 5)
	return l
}

// moves waits until a load has delivered n results more.
func (x *trial) moves(l *load, n int64) {
	x.t.Helper()
	want := l.submitted.Load() + n
	l.nodes[0].eventually(90*time.Second, "results of "+l.name, func() error { return l.more(want) })
}

// check ends the loads and holds the history against the nodes:
//
//	I1, I5  every accepted request ends with its own answer, once; every acknowledged result is there
//	I2, I4  balances are equal at all nodes, and `ledger verify` derives the same state from each log
//	I3      the worker's owner was paid once for each result
//	        no worker is in maintenance
//
// It stops the nodes.
func (x *trial) check() {
	t := x.t
	t.Helper()
	left, read := 0, 0
	accepted, popped := map[string]string{}, map[string]bool{}
	for _, l := range x.loads {
		left += l.drain(t)
		read += l.read
		maps.Copy(accepted, l.accepted)
		maps.Copy(popped, l.popped) // the workers of one load may do the jobs of another
	}
	unknown := 0
	for prompt := range popped {
		if _, ok := accepted[prompt]; !ok {
			unknown++ // the client's answer was lost
		}
	}
	blameless(t, x.nodes[0], nil)
	for _, n := range x.nodes {
		if _, trace, ok := strings.Cut(n.output(), "panic"); ok {
			t.Errorf("%s: a panic: %.2000s", n.name, trace)
		}
	}
	for _, n := range x.nodes {
		n.eventually(60*time.Second, "all that was kept to be delivered", func() error {
			s, err := n.status()
			if err == nil && s.Outbox+s.Kept > 0 {
				err = fmt.Errorf("%d commands and %d results wait", s.Outbox, s.Kept)
			}
			return err
		})
	}
	equalBalances(t, x.nodes, x.clientID, x.ownerID)
	verified(t, x.nodes...)
	paid := settlements(t, x.nodes[0], x.ownerID)
	if done := read + len(accepted) - left; paid < done || paid > done+unknown {
		t.Errorf("%d settlements, want %d, or up to %d more for requests whose client got no answer", paid, done, unknown)
	}
	t.Logf("%d requests accepted, %d settlements, %d leased to nobody, %d unknown to their client", read+len(accepted), paid, left, unknown)
}

// settlements counts what a user was paid for, in the ledger of a stopped node.
func settlements(t *testing.T, p *process, user string) (n int) {
	t.Helper()
	out, code := tool("ledger", "history", user, "--json", "--data", p.data)
	if code != 0 {
		t.Errorf("ledger history of %s ended with %d:\n%s", p.name, code, out)
		return 0
	}
	for d := json.NewDecoder(bytes.NewReader([]byte(out))); d.More(); {
		var m struct{ Kind string }
		if err := d.Decode(&m); err != nil {
			t.Error(err)
			return n
		}
		if m.Kind == "settlement" {
			n++
		}
	}
	return n
}

// percentile sorts the durations and returns one of them.
func percentile(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[(len(all)-1)*p/100]
}

// allocated is how many bytes a file takes on disk; sparse files take less than they are long.
func allocated(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return info.Size()
}
