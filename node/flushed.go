package node

import (
	"context"
	"sync"
)

// flushed is how far the items of the durable outbox have come into the ledger, for those
// who wait for one.
type flushed struct {
	mu    sync.Mutex    // guards all below
	item  uint64        // the last that was answered
	index uint64        // of the entry that it is in
	moved chan struct{} // closed when item grows; nil: nobody waits
}

// advance notes that the items up to item have been answered, the last in the entry index.
func (f *flushed) advance(item, index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.item, f.index = item, index
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
}

// reached returns the entry of an item, or what to wait for before asking again.
func (f *flushed) reached(item uint64) (index uint64, moved <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.item >= item {
		return f.index, nil
	}
	if f.moved == nil {
		f.moved = make(chan struct{})
	}
	return 0, f.moved
}

// Flush returns when every connected node has applied the items of the outbox up to the given
// one, or after 150 ms: they are durable and will be, so the caller need not know which.
func (p *proposer) Flush(ctx context.Context, item uint64) {
	ctx, cancel := context.WithTimeout(ctx, everywhereFor)
	defer cancel()
	for {
		index, moved := p.flushed.reached(item)
		if moved == nil {
			p.spread(ctx, index)
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}
