package exchange

import (
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

// Every node tells the sum of what all homes counted, also while one is away.
func TestTotalsAreOfAllHomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		one := horde.Work{Jobs: 1, Things: 512}
		for _, n := range f.nodes {
			n.totals.own = func() horde.Totals {
				return horde.Totals{horde.KindText: {Minute: one, Hour: one, Day: one, Month: one, Total: one,
					Models: []horde.ModelTotals{{Name: "m", Day: 1, Month: 1, Total: 1}}}}
			}
		}
		three := horde.Work{Jobs: 3, Things: 3 * 512}
		for name, n := range f.nodes {
			got := n.Totals(f.ctx)[horde.KindText]
			if got.Minute != three || got.Total != three || len(got.Models) != 1 || got.Models[0] != (horde.ModelTotals{Name: "m", Day: 3, Month: 3, Total: 3}) {
				t.Errorf("%s tells %+v, want three of each", name, got)
			}
		}
		f.wire.set(func() { f.wire.cut[[2]horde.NodeID{"a", "c"}] = true })
		settle(10 * time.Minute)
		got := f.nodes["a"].Totals(f.ctx)[horde.KindText]
		if got.Total != three || got.Hour != three {
			t.Errorf("without c: %+v, want what c last told", got)
		}
		if two := (horde.Work{Jobs: 2, Things: 2 * 512}); got.Minute != two {
			t.Errorf("without c for ten minutes: minute = %+v, want %+v", got.Minute, two)
		}
	})
}
