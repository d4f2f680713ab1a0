package api

import (
	"errors"
	"io"
	"sync"

	"hordenode/internal/horde"
)

// bulk bounds the memory that large bodies take at one time, of all clients and of each:
//
//	body ──► the first megabyte: free ──► what follows: a megabyte at a time out of the budget
//	answer ──► all of it goes back
//
// Only bytes that have come are counted, so nobody holds room by announcing a body. A body that
// gets no more room is refused with 503. A body in memory is there up to three times: as it
// came, as a tree, and as the image in it.
type bulk struct {
	most, perClient int64

	mu   sync.Mutex // guards the fields below
	used int64
	by   map[string]int64
}

const (
	bulkFree  = popBodyMax // of each body, not counted
	bulkStep  = 1 << 20
	bulkLeast = 32 << 20 // of the budget: one image of the largest size, and another one
	bulkMost  = 256 << 20
)

// bulkOf is the budget of a process whose heap may have limit bytes.
func bulkOf(limit int64) int64 { return min(max(limit/16, bulkLeast), bulkMost) }

func newBulk(most int64) *bulk {
	return &bulk{most: most, perClient: max(most/2, imageBodyMax), by: map[string]int64{}}
}

// errBulk is what a reader of a body returns that got no more room.
var errBulk = errors.New("too many large bodies at once")

// tooBusy refuses a body for errBulk.
func tooBusy() error {
	return horde.Refuse(horde.RCUnavailable, "This node is taking in too many large bodies. Please try again in a moment.")
}

// take takes n bytes for a client, or tells that it must not have them.
func (b *bulk) take(client string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.most || b.by[client]+n > b.perClient {
		return false
	}
	b.used += n
	b.by[client] += n
	return true
}

func (b *bulk) give(client string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.by[client] -= n; b.by[client] <= 0 {
		delete(b.by, client)
	}
}

// A bulkBody is a body that is counted.
type bulkBody struct {
	io.ReadCloser
	bulk   *bulk
	client func() string // asked for large bodies alone

	read, taken int64
	name        string
}

// Read reads, and fails with errBulk when there is no room for what it read.
func (b *bulkBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	for b.read > bulkFree+b.taken {
		if b.name == "" {
			b.name = b.client()
		}
		if !b.bulk.take(b.name, bulkStep) {
			return n, errBulk
		}
		b.taken += bulkStep
	}
	return n, err
}

// free gives back what the body took. The body must not be read any more.
func (b *bulkBody) free() {
	if b.taken > 0 {
		b.bulk.give(b.name, b.taken)
		b.taken = 0
	}
}
