package jobs

import (
	"reflect"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestTallyWindows(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tl := newTally()
	one := func(ago time.Duration, kind horde.Kind, model string) {
		tl.add([]work{{kind, model, 10, at.Add(-ago)}})
	}
	one(40*24*time.Hour, horde.KindText, "old")
	one(20*24*time.Hour, horde.KindText, "m")
	one(20*time.Hour, horde.KindText, "m")
	one(30*time.Minute, horde.KindText, "n")
	one(30*time.Second, horde.KindText, "m")
	one(0, horde.KindImage, "i")
	one(0, horde.KindAlchemy, "caption") // has no statistics
	got := tl.totals(at)
	w := func(n int64) horde.Work { return horde.Work{Jobs: n, Things: 10 * n} }
	want := horde.Totals{
		horde.KindImage: {Minute: w(1), Hour: w(1), Day: w(1), Month: w(1), Total: w(1), Models: []horde.ModelTotals{{Name: "i", Day: 1, Month: 1, Total: 1}}},
		horde.KindText: {Minute: w(1), Hour: w(2), Day: w(3), Month: w(4), Total: w(5), Models: []horde.ModelTotals{
			{Name: "m", Day: 2, Month: 3, Total: 3}, {Name: "n", Day: 1, Month: 1, Total: 1}, {Name: "old", Total: 1},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("totals:\n got %+v\nwant %+v", got, want)
	}
	later := tl.totals(at.Add(2 * time.Hour))
	if k := later[horde.KindText]; k.Minute != w(0) || k.Hour != w(0) || k.Day != w(3) {
		t.Errorf("two hours later: %+v, want 0, 0, 3", k)
	}
	tl.add([]work{{horde.KindText, "m", 1, at.Add(100 * 24 * time.Hour)}})
	for k := range tl.rows {
		if k.span != spanEver && time.Unix(k.start, 0).Before(at.Add(60*24*time.Hour)) {
			t.Errorf("row %+v is still kept", k)
		}
	}
}

// Names that nobody can bound do not fill the memory: they are counted together.
func TestTallyIsBounded(t *testing.T) {
	tl := newTally()
	for i := range maxTally {
		tl.rows[rowKey{span: spanEver, start: int64(i)}] = horde.Work{}
	}
	tl.add([]work{{horde.KindText, "new", 5, time.Unix(1e9, 0)}})
	got := tl.rows[rowKey{span: spanEver, kind: horde.KindText, model: otherModels}]
	if want := (horde.Work{Jobs: 1, Things: 5}); got != want {
		t.Errorf("others = %+v, want %+v", got, want)
	}
}

// What was delivered or given up is counted once, also when the node is killed and starts again.
func TestTotalsSurviveRestarts(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(3))
	jobs := w.granted(worker, 3, id)
	w.deliver(jobs[0], bob)
	if _, err := w.submit(jobs[0], bob, ""); err != nil { // a repeat
		t.Logf("repeat: %v", err)
	}
	if _, err := w.submit(jobs[1], bob, "faulted"); err != nil {
		t.Fatal(err)
	}
	want := horde.Work{Jobs: 2, Things: 160}
	if got := w.Totals()[horde.KindText].Total; got != want {
		t.Errorf("Total = %+v, want %+v", got, want)
	}
	w.crash()
	got := w.Totals()[horde.KindText]
	if got.Total != want || got.Hour != want || got.Month != want || len(got.Models) != 1 {
		t.Errorf("after a restart %+v, want %+v of one model", got, want)
	}
	if got.Minute != (horde.Work{}) {
		t.Errorf("Minute after a restart = %+v, want nothing: it is not kept on disk", got.Minute)
	}
}
