package node

import (
	"slices"
	"testing"

	"hordenode/internal/horde"
)

// TestNewcomersAreToldWhereTheInviterIs holds for a founder too whose addresses are not in the
// ledger yet: a newcomer in its first moments used to be left without anybody to dial.
func TestNewcomersAreToldWhereTheInviterIs(t *testing.T) {
	ledger := []horde.Member{{ID: "founder"}, {ID: "other", Addrs: []string{"/there"}}}
	told := withAddrs(ledger, "founder", []string{"/here"})
	if !slices.Equal(told[0].Addrs, []string{"/here"}) || !slices.Equal(told[1].Addrs, []string{"/there"}) {
		t.Errorf("a newcomer is told %+v, want the founder's addresses and the others' as they are", told)
	}
	if ledger[0].Addrs != nil {
		t.Error("the ledger's own list was changed")
	}
}
