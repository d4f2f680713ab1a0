package node

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"hordenode/ledger"
)

// Durable commands that the ledger did not look at stay in the outbox, in order, and are
// sent again.
func TestProposerSendsAgainWhatWasHeldBack(t *testing.T) {
	var done [][]byte
	looked := 2 // how many durable commands the ledger looks at, growing by batches
	finished := make(chan struct{})
	deliver := func(_ context.Context, data []byte) (uint64, []byte, error) {
		b, err := ledger.DecodeBatch(data)
		if err != nil {
			return 0, nil, err
		}
		results := make([]ledger.Result, len(b.Commands))
		for i, c := range b.Commands {
			if results[i].Again = i >= looked; !results[i].Again {
				done = append(done, c.Data)
			}
		}
		looked++
		if len(done) == 5 {
			close(finished)
		}
		return b.Seq, ledger.EncodeAnswer(results), nil
	}
	l := &flakyLeader{hold: make(chan struct{})}
	p, o, stop := startProposer(t, l)
	p.deliver = deliver // nothing is sent before there are items
	for n := range uint64(5) {
		o.add(n + 1)
	}
	<-finished
	stop()
	want := [][]byte{[]byte("item 1"), []byte("item 2"), []byte("item 3"), []byte("item 4"), []byte("item 5")}
	if !slices.EqualFunc(done, want, bytes.Equal) {
		t.Errorf("done %q, want %q", done, want)
	}
	if left, err := o.Pending(0, 10); err != nil || len(left) != 0 {
		t.Errorf("left in the outbox: %v, %v, want none", left, err)
	}
}
