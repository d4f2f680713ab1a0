package ledger

import (
	"testing"

	"hordenode/internal/horde"
)

func TestSkeleton(t *testing.T) {
	for _, same := range [][]string{
		{"paypal", "PayPal", "раураl", "pаypal", "p a y p a l", "paypаｌ", "pay\u200bpal", "pàypal"},
		{"illinois", "lllinois", "1llin0is", "Illinοis"},
		{"Ørsted", "orsted"},
	} {
		want := skeleton(same[0])
		for _, name := range same {
			if got := skeleton(name); got != want {
				t.Errorf("%q: got %q, want %q as %q", name, got, want, same[0])
			}
		}
	}
	for _, pair := range [][2]string{{"oak", "elm"}, {"日本", "中国"}, {"a", "b"}, {"team2", "team3"}, {"✓", "✗"}} {
		if skeleton(pair[0]) == skeleton(pair[1]) {
			t.Errorf("%q and %q look alike", pair[0], pair[1])
		}
	}
	for _, name := range []string{"", " ", "\u200b"} {
		if got := skeleton(skeleton(name)); got != skeleton(name) {
			t.Errorf("%q is not stable", name)
		}
	}
}

func TestTeamsThatLookAlike(t *testing.T) {
	w := newWorld(t)
	u := w.person("a", 0, horde.RoleTrusted)
	must(w.CreateTeam(w.ctx, NewTeam{Actor: u, Name: "Illuminators"}))(t)
	for _, name := range []string{"illuminators", "lllum1nators", "Іlluminаtοrs"} {
		_, err := w.CreateTeam(w.ctx, NewTeam{Actor: u, Name: name})
		wantRC(t, err, horde.RCTeamNameAlreadyExists)
	}
	must(w.CreateTeam(w.ctx, NewTeam{Actor: u, Name: "Illuminators 2"}))(t)
	w.check()
}
