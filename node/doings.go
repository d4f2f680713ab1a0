package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"hordenode/consensus"
	"hordenode/internal/horde"
	"hordenode/ledger"
)

// A Doing is one command of a member.
type Doing = ledger.Doing

// A Since is where a listing of commands begins: at a log entry or at a ledger time.
type Since struct {
	Index uint64
	Time  time.Time // if not zero
}

// ParseSince reads "812", "2026-11-20", "2026-11-20T10:00:00Z" or "36h", which is that long
// before now.
func ParseSince(s string, now time.Time) (Since, error) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return Since{Index: n}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return Since{Time: now.Add(-d)}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return Since{Time: t}, nil
		}
	}
	return Since{}, fmt.Errorf("%q is neither a log index, a time such as 2026-11-20T10:00:00Z, nor a span such as 36h", s)
}

func (s Since) holds(d *ledger.Doing) bool {
	if !s.Time.IsZero() {
		return !d.At.Before(s.Time)
	}
	return d.Place.Index >= s.Index
}

// A DoingsQuery selects commands of one member.
type DoingsQuery struct {
	Member string // name or id
	Since  Since
	Booked bool // only those that changed balances
}

// ErrNoMember says that the ledger knows no such member.
var ErrNoMember = errors.New("the ledger has no such member")

// DoingsOf lists a member's commands as a stopped node's data tell them.
func DoingsOf(ctx context.Context, data string, q DoingsQuery) (list []ledger.Doing, member horde.Member, err error) {
	b, err := openBook(data)
	if err != nil {
		return nil, member, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	replay, from, err := b.replay()
	if err != nil {
		return nil, member, err
	}
	var all []ledger.Doing
	replay.Tell(q.collect(&all))
	for e, err := range b.entries {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, member, err
		}
		if e.Index <= from || e.Index > b.offline.Applied() {
			continue
		}
		if err := applyEntry(replay, e); err != nil {
			return nil, member, err
		}
	}
	return q.choose(replay, all)
}

// DoingsIn does the same with an export.
func DoingsIn(ctx context.Context, path string, q DoingsQuery) (list []ledger.Doing, member horde.Member, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, member, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var all []ledger.Doing
	replay := ledger.NewReplay()
	replay.Tell(q.collect(&all))
	checkpoint, loaded := newRows(), false
	var h ledger.ExportHeader
	load := func() error {
		if loaded || len(checkpoint.keys) == 0 {
			return nil
		}
		loaded = true
		return replay.Load(h.Checkpoint, checkpoint.all)
	}
	err = ledger.ReadExport(bufio.NewReader(readerWith{ctx, f}), ledger.ExportVisitor{
		Header: func(x ledger.ExportHeader) error { h = x; return nil },
		Row:    checkpoint.add,
		Entry: func(index uint64, data []byte) error {
			if err := load(); err != nil {
				return err
			}
			return applyEntry(replay, consensus.Entry{Index: index, Data: data})
		},
	})
	if err == nil {
		err = load()
	}
	if err != nil {
		return nil, member, err
	}
	return q.choose(replay, all)
}

// collect keeps what may be asked for; which member is meant is known at the end.
func (q *DoingsQuery) collect(into *[]ledger.Doing) func(ledger.Doing) {
	return func(d ledger.Doing) {
		if q.Since.holds(&d) && (!q.Booked || len(d.Booked) > 0) {
			*into = append(*into, d)
		}
	}
}

func (q *DoingsQuery) choose(replay *ledger.Replay, all []ledger.Doing) ([]ledger.Doing, horde.Member, error) {
	reader := replay.Machine().Reader()
	var found horde.Member
	for _, m := range reader.Members() {
		if m.Name == q.Member || string(m.ID) == q.Member {
			found = m
			if m.Active {
				break
			}
		}
	}
	if found.ID == "" {
		return nil, found, fmt.Errorf("%w: %q", ErrNoMember, q.Member)
	}
	var list []ledger.Doing
	for _, d := range all {
		if d.Origin == found.ID {
			d.Reversed = reader.Reversed(d.Place)
			list = append(list, d)
		}
	}
	return list, found, nil
}
