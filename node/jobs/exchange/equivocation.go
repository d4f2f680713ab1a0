package exchange

import (
	"hash/maphash"

	"hordenode/internal/horde"
)

// A home that sends different batches under one number shows different nodes different
// queues. Gossip brings both to everybody in the end, signed by the home: whoever gets a second
// one keeps the first and says so.

// rememberedSums is how many batches of a stream can be told from others of the same number.
const rememberedSums = 16

// batchSum is what is remembered of a batch.
type batchSum struct{ seq, sum uint64 }

// keepSum remembers a batch. x.mu is held.
func (x *index) keepSum(s *stream, seq uint64, data []byte) {
	if s.sums == nil {
		s.sums = make([]batchSum, rememberedSums)
	}
	s.sums[seq%rememberedSums] = batchSum{seq, maphash.Bytes(x.sumSeed, data)}
}

// contradicts tells whether another batch of the number was taken in. x.mu is held.
func (x *index) contradicts(s *stream, seq uint64, data []byte) bool {
	if s.sums == nil {
		return false
	}
	old := s.sums[seq%rememberedSums]
	return old.seq == seq && old.sum != maphash.Bytes(x.sumSeed, data)
}

// accuse writes down that a home has sent two batches under one number.
func (e *Exchange) accuse(home horde.NodeID, boot, seq uint64, data []byte) {
	e.log.Warn("equivocation: a member has signed two different batches of one number", "from", home,
		"boot", boot, "seq", seq, "bytes", len(data))
}
