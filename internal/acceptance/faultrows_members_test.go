//go:build faults

package acceptance

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Row 16: a voter's data directory is lost. The others go on; a new node joins under an id of its
// own, is sent everything, and votes; the lost one is removed.
func TestFault16DataLost(t *testing.T) {
	t.Parallel()
	nodes := make([]*process, 3)
	for i := range nodes {
		nodes[i] = newProcess(t, string(rune('a'+i)))
		nodes[i].env = []string{"HORDE_TEST_SNAPSHOT_AFTER=50"} // so that the new one is sent a snapshot
	}
	found(nodes)
	reg := startRegister(t, nodes, "lost")
	reg.more(150)
	lost := nodes[2]
	lost.kill()
	if err := os.RemoveAll(lost.data); err != nil {
		t.Fatal(err)
	}
	reg.more(10)
	rest := nodes[:2]
	fresh := newProcess(t, "d")
	fresh.env = lost.env
	rest[0].eventually(30*time.Second, "a leader", func() error { // an election may be under way
		if s, err := rest[0].status(); err != nil || s.Leader == "" || s.Leader == lost.name {
			return fmt.Errorf("leader %q, %v", s.Leader, err)
		}
		return nil
	})
	fresh.start("--join", strings.TrimSpace(rest[0].command("invite")))
	rest[0].command("members", "remove", lost.name)
	rest[0].eventually(60*time.Second, "three voters, without the one that was lost", func() error {
		ms := rest[0].members()
		if i := slices.IndexFunc(ms, func(m member) bool { return m.Name == lost.name && (m.Role == "voter" || m.Role == "leader") }); i >= 0 || rest[0].voters() != 3 {
			return fmt.Errorf("%+v", ms)
		}
		return nil
	})
	reg.more(10)
	reg.finish()
	reg.everywhere(rest[0], rest[1], fresh)
	verified(t, rest[0], rest[1], fresh)
}
