package ratelimit

import (
	"encoding/binary"
	"testing"
	"time"
)

// What another node tells of a key that was not used here counts no more than that node may
// let through, and for no longer than the limit's own window: a member that errs, or lies,
// locks nobody out for an hour.
func TestForeignWindowOfAnotherLength(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := New(func() time.Time { return now }, func(string) uint64 { return 7 })
	told := binary.BigEndian.AppendUint64([]byte{format}, 7)
	told = binary.BigEndian.AppendUint32(told, 1)
	told = binary.BigEndian.AppendUint32(told, uint32(maxPer.Milliseconds()))
	told = binary.BigEndian.AppendUint32(told, maxHits)
	if err := c.Hear("liar", told); err != nil {
		t.Fatal(err)
	}
	if left, reset := c.Hit("key", 2, time.Second); left != -1 || reset.Sub(now) > 2*time.Second {
		t.Errorf("first hit: %d left, again after %s; want none, after 2s at most", left, reset.Sub(now))
	}
	now = now.Add(2 * time.Second)
	if left, _ := c.Hit("key", 2, time.Second); left != 1 {
		t.Errorf("in the next window: %d left, want 1", left)
	}
}
