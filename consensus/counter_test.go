package consensus

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strconv"
	"strings"
	"sync"
)

// counter is a small state machine: a proposal names a key, optionally followed by a space
// and ballast, and the key's count goes up by one; the answer is the count. It keeps a chain
// over all entries, so that two counters with the same chain have seen the same.
//
//	"poison" is refused by an error, "panic" by a panic, "delete KEY" removes KEY,
//	"many N KEY" writes the N keys KEY0, KEY1, …
type counter struct {
	mu     sync.Mutex // for the tests, which look while the group applies
	counts map[string]uint64
	chain  [32]byte
	index  uint64
	stamps []int64
	dirty  map[string][]byte
	sums   map[uint64][32]byte // what sum was at each index
	loads  int
	fail   error         // Load fails with it
	block  chan struct{} // Apply waits for it, if not nil
}

func newCounter() *counter {
	return &counter{counts: map[string]uint64{}, dirty: map[string][]byte{}, sums: map[uint64][32]byte{}}
}

const chainKey = "\x00chain"

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func (c *counter) bump(key string) uint64 {
	c.counts[key]++
	c.dirty[key] = number(c.counts[key])
	return c.counts[key]
}

func (c *counter) Apply(index uint64, stamp int64, entry [32]byte, proposals [][]byte) ([][]byte, error) {
	if c.block != nil {
		<-c.block
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if index <= c.index {
		return nil, fmt.Errorf("entry %d after %d", index, c.index)
	}
	var answers [][]byte
	for _, p := range proposals {
		words := strings.Fields(string(p))
		switch words[0] {
		case "poison":
			return nil, errors.New("poisoned")
		case "panic":
			panic("poisoned")
		case "delete":
			delete(c.counts, words[1])
			c.dirty[words[1]] = nil
			answers = append(answers, nil)
		case "many":
			n, _ := strconv.Atoi(words[1])
			for i := range n {
				c.bump(words[2] + strconv.Itoa(i))
			}
			answers = append(answers, nil)
		default:
			answers = append(answers, []byte(strconv.FormatUint(c.bump(words[0]), 10)))
		}
	}
	c.chain = sha256.Sum256(append(c.chain[:], entry[:]...))
	c.dirty[chainKey] = append([]byte(nil), c.chain[:]...)
	c.index, c.stamps = index, append(c.stamps, stamp)
	c.sums[index] = c.sum()
	return answers, nil
}

// sum changes with any count and with the chain.
func (c *counter) sum() [32]byte {
	x := c.chain
	for k, n := range c.counts {
		for i, b := range sha256.Sum256(append([]byte(k+"="), number(n)...)) {
			x[i] ^= b
		}
	}
	return x
}

func (c *counter) Dirty() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.dirty)
}

func (c *counter) Changes() (map[string][]byte, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dirty
	c.dirty = map[string][]byte{}
	return d, c.index
}

func (c *counter) Load(index uint64, state iter.Seq2[[]byte, []byte]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	clear(c.counts)
	clear(c.dirty)
	c.chain, c.index = [32]byte{}, index
	c.loads++
	for k, v := range state {
		if string(k) == chainKey {
			c.chain = [32]byte(v)
			continue
		}
		c.counts[string(k)] = binary.BigEndian.Uint64(v)
	}
	c.sums[index] = c.sum()
	return nil
}

func (c *counter) count(key string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[key]
}

func (c *counter) state() (index uint64, sum [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index, c.sum()
}

func (c *counter) history() map[uint64][32]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.sums)
}
