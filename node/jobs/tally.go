package jobs

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hordenode/internal/horde"
)

// The tally counts the jobs that were finished at this home, for the statistics.
//
//	delivery ─ op.work ─► flusher ─┬─ one transaction ─► result, settlement
//	                               └────────────────────► rows of the tally that grew
//
// A row is the work of one model in one span of time: a minute, an hour, a day, or since the
// beginning. The rows are written by the transaction that holds the result, so a crash counts
// nothing twice and forgets nothing (docs/decisions/0020). Rows that no window covers any more
// go away by themselves.

// span is how long a row is.
type span uint8

// The spans. The values are stored: never renumber.
const (
	spanMinute span = iota + 1
	spanHour
	spanDay
	spanEver
	spanTick // ten seconds; in memory only
)

// spans are those of every delivery: how long they are and for how long rows are kept.
var spans = []struct {
	span
	long, kept time.Duration
}{
	{spanTick, 10 * time.Second, 2 * time.Minute},
	{spanMinute, time.Minute, 2 * time.Hour},
	{spanHour, time.Hour, 26 * time.Hour},
	{spanDay, 24 * time.Hour, 32 * 24 * time.Hour},
	{spanEver, 0, 0},
}

const (
	// maxTally bounds the rows; names that come after that are counted together.
	maxTally = 200_000
	// maxModelName is how much of a model's name is kept, in bytes.
	maxModelName = 200
	otherModels  = "other models"
)

// work is one finished job.
type work struct {
	kind   horde.Kind
	model  string
	things int64
	at     time.Time
}

// rowKey names a row.
type rowKey struct {
	span  span
	start int64 // Unix seconds; 0 for spanEver
	kind  horde.Kind
	model string
}

type tally struct {
	mu    sync.Mutex // guards all below
	rows  map[rowKey]horde.Work
	swept time.Time
}

func newTally() tally { return tally{rows: map[rowKey]horde.Work{}} }

func tallyKey(k rowKey) []byte {
	b := binary.BigEndian.AppendUint64([]byte{keyTally, byte(k.span)}, uint64(k.start))
	return append(append(b, byte(k.kind)), k.model...)
}

func parseTallyKey(b []byte) (k rowKey, err error) {
	if len(b) < 11 {
		return k, fmt.Errorf("tally: %w", errDamaged)
	}
	return rowKey{span(b[1]), int64(binary.BigEndian.Uint64(b[2:10])), horde.Kind(b[10]), string(b[11:])}, nil
}

// add counts finished jobs and returns the rows to write.
func (t *tally) add(done []work) []entry {
	if len(done) == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	grown := map[rowKey]time.Duration{}
	for _, w := range done {
		if len(w.model) > maxModelName {
			w.model = strings.ToValidUTF8(w.model[:maxModelName], "")
		}
		for _, s := range spans {
			k := rowKey{span: s.span, kind: w.kind, model: w.model}
			if s.long > 0 {
				k.start = w.at.Truncate(s.long).Unix()
			}
			if _, ok := t.rows[k]; !ok && len(t.rows) >= maxTally {
				k.model = otherModels
			}
			t.rows[k] = t.rows[k].Plus(horde.Work{Jobs: 1, Things: w.things})
			if s.span != spanTick {
				grown[k] = s.kept
			}
		}
	}
	t.sweep(done[len(done)-1].at)
	puts := make([]entry, 0, len(grown))
	for k, kept := range grown {
		e := encode(tallyKey(k), t.rows[k])
		e.ttl = kept
		puts = append(puts, e)
	}
	return puts
}

// sweep forgets rows that no window covers, once a minute. t.mu is held.
func (t *tally) sweep(now time.Time) {
	if now.Sub(t.swept) < time.Minute {
		return
	}
	t.swept = now
	for _, s := range spans {
		if s.kept == 0 {
			continue
		}
		oldest := now.Add(-s.kept).Unix()
		for k := range t.rows {
			if k.span == s.span && k.start < oldest {
				delete(t.rows, k)
			}
		}
	}
}

// load takes a row from the disk.
func (t *tally) load(key, rec []byte) error {
	k, err := parseTallyKey(key)
	if err != nil {
		return err
	}
	var w horde.Work
	if err := decode(key, rec, &w); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[k] = w
	return nil
}

// totals are the figures at a moment. A row counts if any of it is in the window.
func (t *tally) totals(now time.Time) horde.Totals {
	var out horde.Totals
	var models [len(out)]map[string]*horde.ModelTotals
	for k := range models {
		models[k] = map[string]*horde.ModelTotals{}
	}
	covers := func(k rowKey, long, window time.Duration) bool {
		return time.Unix(k.start, 0).Add(long).After(now.Add(-window))
	}
	t.mu.Lock()
	for k, w := range t.rows {
		if int(k.kind) >= len(out) {
			continue
		}
		o := &out[k.kind]
		m := models[k.kind][k.model]
		if m == nil {
			m = &horde.ModelTotals{Name: k.model}
			models[k.kind][k.model] = m
		}
		switch {
		case k.span == spanTick && covers(k, 10*time.Second, time.Minute):
			o.Minute = o.Minute.Plus(w)
		case k.span == spanMinute && covers(k, time.Minute, time.Hour):
			o.Hour = o.Hour.Plus(w)
		case k.span == spanHour && covers(k, time.Hour, 24*time.Hour):
			o.Day = o.Day.Plus(w)
			m.Day += w.Jobs
		case k.span == spanDay && covers(k, 24*time.Hour, 30*24*time.Hour):
			o.Month = o.Month.Plus(w)
			m.Month += w.Jobs
		case k.span == spanEver:
			o.Total = o.Total.Plus(w)
			m.Total += w.Jobs
		}
	}
	t.mu.Unlock()
	for k := range models {
		for _, m := range models[k] {
			out[k].Models = append(out[k].Models, *m)
		}
		slices.SortFunc(out[k].Models, func(a, b horde.ModelTotals) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}

// Totals are the jobs that were finished at this home, those that were given up or censored
// included.
func (h *Home) Totals() horde.Totals { return h.store.tally.totals(h.now()) }
