package node

import (
	"testing"
	"time"

	"hordenode/internal/horde"
	"hordenode/p2p"
)

func TestCutOff(t *testing.T) {
	const self, other horde.NodeID = "self", "other"
	granted := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) time.Time { return granted.Add(d) }
	both := []horde.Member{{ID: self, Active: true}, {ID: other, Active: true}}
	for _, tt := range []struct {
		name    string
		members []horde.Member
		peers   []p2p.PeerInfo
		lost    time.Time // of other; zero: it was never missed
		want    bool
	}{
		{"alone", both[:1], nil, time.Time{}, false},
		{"connected all the time", both, []p2p.PeerInfo{{ID: other, Connected: true, Since: at(-time.Minute)}}, time.Time{}, false},
		{"came back since", both, []p2p.PeerInfo{{ID: other, Connected: true, Since: at(time.Minute)}}, time.Time{}, true},
		{"away since", both, []p2p.PeerInfo{{ID: other}}, at(time.Minute), true},
		{"away, not noticed yet", both, nil, time.Time{}, true},
		{"away for half an hour before", both, nil, at(-time.Hour / 2), true},
		{"away for long before", both, nil, at(-2 * time.Hour), false},
		{"removed", []horde.Member{both[0], {ID: other}}, nil, at(time.Minute), false},
	} {
		r := reach{lost: map[horde.NodeID]time.Time{}}
		if !tt.lost.IsZero() {
			r.lost[other] = tt.lost
		}
		if got := r.cutOff(self, tt.members, tt.peers, granted); got != tt.want {
			t.Errorf("%s: cutOff = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestReachNotes checks that the moment of a loss is kept until the member is back.
func TestReachNotes(t *testing.T) {
	const other horde.NodeID = "other"
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	members := []horde.Member{{ID: other, Active: true}}
	var r reach
	r.note(members, nil, begin)
	r.note(members, nil, begin.Add(2*time.Hour))
	if !r.gone(other, begin.Add(2*time.Hour)) || r.gone(other, begin.Add(time.Minute)) {
		t.Error("a member that has been away for two hours is not known to be, or was so too early")
	}
	r.note(members, []p2p.PeerInfo{{ID: other, Connected: true}}, begin.Add(3*time.Hour))
	r.note(members, nil, begin.Add(4*time.Hour))
	if r.gone(other, begin.Add(4*time.Hour)) {
		t.Error("a member that was back counts as away all the time")
	}
}
