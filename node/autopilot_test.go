package node

import (
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestNextStep(t *testing.T) {
	voter := func(id string) sight {
		return sight{member: horde.Member{ID: horde.NodeID(id), Active: true, Voter: true}, server: true, voter: true, connected: true}
	}
	learner := func(id string) sight {
		s := voter(id)
		s.voter, s.caughtUp = false, true
		return s
	}
	with := func(s sight, change func(*sight)) sight { change(&s); return s }
	gone := func(s *sight) { s.connected, s.caughtUp, s.missing = false, false, time.Minute }
	dead := func(s *sight) { s.connected, s.caughtUp, s.missing = false, false, deadAfter+time.Second }
	behind := func(s *sight) { s.caughtUp = false }
	barred := func(s *sight) { s.member.Voter = false }
	hidden := func(s *sight) { s.hidden = true }
	stranger := func(s *sight) { s.server, s.voter = false, false }

	for _, tt := range []struct {
		name      string
		sights    []sight
		strangers []horde.NodeID
		want      step
	}{
		{"alone", []sight{voter("a")}, nil, step{}},
		{"a member that raft does not know", []sight{voter("a"), with(learner("b"), stranger)}, nil, step{"add", "b"}},
		{"a server that is no member", []sight{voter("a")}, []horde.NodeID{"x"}, step{"remove", "x"}},
		{"two members: one voter is better than two", []sight{voter("a"), learner("b")}, nil, step{}},
		{"three members: the first learner", []sight{voter("a"), learner("b"), learner("c")}, nil, step{"promote", "b"}},
		{"three members, one behind: wait for it", []sight{voter("a"), learner("b"), with(learner("c"), behind)}, nil, step{}},
		{"three members, one away: wait for it", []sight{voter("a"), with(learner("b"), gone), learner("c")}, nil, step{}},
		{"a learner that nobody can dial is passed over", []sight{voter("a"), with(learner("b"), hidden), learner("c"), learner("d")}, nil, step{"promote", "c"}},
		{"a learner that nobody can dial counts as none", []sight{voter("a"), with(learner("b"), hidden), learner("c")}, nil, step{}},
		{"nor does it take a dead voter's place", []sight{voter("a"), with(voter("b"), dead), voter("c"), with(learner("d"), hidden)}, nil, step{}},
		{"half way", []sight{voter("a"), voter("b"), learner("c")}, nil, step{"promote", "c"}},
		{"enough", []sight{voter("a"), voter("b"), voter("c"), learner("d")}, nil, step{}},
		{"a learner that may not vote", []sight{voter("a"), with(learner("b"), barred), learner("c")}, nil, step{}},
		{"a voter that may not vote any more", []sight{voter("a"), with(voter("b"), barred), voter("c")}, nil, step{"demote", "b"}},
		{"a voter that may not vote any more, and somebody for it: that one first", []sight{voter("a"), with(voter("b"), barred), voter("c"), learner("d")}, nil, step{"promote", "d"}},
		{"then it", []sight{voter("a"), with(voter("b"), barred), voter("c"), voter("d"), learner("e")}, nil, step{"demote", "b"}},
		{"one that may not vote and is away", []sight{voter("a"), with(with(voter("b"), barred), gone), voter("c"), learner("d")}, nil, step{"demote", "b"}},
		{"a voter that may not vote any more, but is needed", []sight{voter("a"), with(voter("b"), barred), with(voter("c"), gone)}, nil, step{}},
		{"a voter away for a minute", []sight{voter("a"), with(voter("b"), gone), voter("c"), learner("d")}, nil, step{}},
		{"a dead voter and somebody for it", []sight{voter("a"), with(voter("b"), dead), voter("c"), learner("d")}, nil, step{"demote", "b"}},
		{"a dead voter and nobody for it", []sight{voter("a"), with(voter("b"), dead), voter("c")}, nil, step{}},
		{"after the demotion", []sight{voter("a"), with(learner("b"), dead), voter("c"), learner("d")}, nil, step{"promote", "d"}},
		{"never itself", []sight{with(voter("a"), dead), voter("b"), voter("c"), learner("d")}, nil, step{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := nextStep("a", tt.sights, tt.strangers); got != tt.want {
				t.Errorf("nextStep = %+v, want %+v", got, tt.want)
			}
		})
	}
}
