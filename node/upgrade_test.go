package node_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node"
	"hordenode/node/nodetest"
)

// Row 32 of the fault matrix: a federation of an older version is upgraded node by node. Until
// the last is, nothing that it does not know gets into the log; then the version goes up by
// itself, everywhere, and the newer commands are taken. Nobody stops, all keep the same state.
func TestRow32UpgradeNodeByNode(t *testing.T) {
	c := nodetest.New(t, 3, func(cfg *node.Config) { cfg.TestLedgerVersion = 1 })
	for _, n := range c.Nodes {
		if v := n.Status().LedgerVersion; v != 1 {
			t.Fatalf("%s is at version %d, want 1", n.Name, v)
		}
	}
	owner := c.NewAccount(0, false)
	share := func(n *nodetest.Node) (made struct{ ID string }) {
		c.Eventually("a shared key is made", func() error {
			a, err := owner.At(n).Do("PUT", "/api/v2/sharedkeys", map[string]any{}, &made)
			if err == nil && !a.OK() {
				err = errors.New(a.Message)
			}
			return err
		})
		return made
	}
	first := share(c.Nodes[1])
	newer := func(cfg *node.Config) { cfg.TestLedgerVersion = 0 }
	for i, n := range c.Nodes {
		// A node of the new program among old ones: its new commands are refused before they are sent.
		if i > 0 {
			err := c.Nodes[0].ReportVersion()
			var refusal *horde.Error
			if !errors.As(err, &refusal) || refusal.RC != horde.RCUnavailable {
				t.Fatalf("with %d nodes upgraded: got %v, want %s", i, err, horde.RCUnavailable)
			}
		}
		n.Stop()
		n.Reconfigure(newer)
		n.Start()
	}
	c.Eventually("the new version everywhere", func() error {
		for _, n := range c.Nodes {
			if st := n.Status(); st.LedgerVersion != ledger.NewestVersion {
				return fmt.Errorf("%s is at version %d", n.Name, st.LedgerVersion)
			}
		}
		return nil
	})
	c.Eventually("every member's row", func() error {
		for _, n := range c.Nodes {
			for _, m := range n.MemberList() {
				if m.LedgerVersion != ledger.NewestVersion {
					return fmt.Errorf("%s says of %s: version %d", n.Name, m.Name, m.LedgerVersion)
				}
			}
		}
		return nil
	})
	if err := c.Nodes[1].ReportVersion(); err != nil {
		t.Error(err)
	}

	// Shared keys' ids are sealed from now on, with a key that all have; those from before stay.
	second := share(c.Nodes[2])
	for _, n := range c.Nodes {
		c.Eventually("both shared keys are listed", func() error {
			var me struct {
				IDs []string `json:"sharedkey_ids"`
			}
			if _, err := owner.At(n).Do("GET", "/api/v2/find_user", nil, &me); err != nil {
				return err
			}
			if !slices.Equal(me.IDs, []string{first.ID, second.ID}) {
				return fmt.Errorf("%s lists %v, want %s and %s", n.Name, me.IDs, first.ID, second.ID)
			}
			return nil
		})
	}

	// What was upgraded cannot go back: the older program says so and does not start.
	last := c.Nodes[2]
	last.Stop()
	last.Reconfigure(func(cfg *node.Config) { cfg.TestLedgerVersion = 1 })
	err := last.TryStart()
	if !errors.Is(err, ledger.ErrVersion) || !strings.Contains(err.Error(), "install a newer hordenode") {
		t.Errorf("an older program on newer data: got %v, want %v", err, ledger.ErrVersion)
	}
	last.Reconfigure(newer)
	last.Start()
}
