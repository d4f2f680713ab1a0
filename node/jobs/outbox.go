package jobs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// An Item is one command of the durable outbox. N grows for ever, also over restarts.
type Item struct {
	N    uint64
	Data []byte // an encoded ledger command
}

// An Outbox holds the commands that wait for the ledger, in the order in which what they tell
// became durable. One sender reads and clears it.
type Outbox struct{ s *store }

// Pending returns at most n items with numbers greater than after, in order.
func (o *Outbox) Pending(after uint64, n int) ([]Item, error) {
	var items []Item
	err := o.s.db.View(func(txn *badger.Txn) error {
		opts := badger.DefaultIteratorOptions
		opts.Prefix = []byte{keyOutbox}
		opts.PrefetchValues = false
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Seek(outboxKey(after + 1)); it.Valid() && len(items) < n; it.Next() {
			key := it.Item().KeyCopy(nil)
			content, err := outboxContent(it.Item(), key)
			if err != nil {
				return fmt.Errorf("outbox item %d: %w", outboxNumber(key), err)
			}
			items = append(items, Item{N: outboxNumber(key), Data: content})
		}
		return nil
	})
	return items, err
}

// Done deletes the items with numbers up to upTo: the ledger has them.
func (o *Outbox) Done(upTo uint64) error {
	const chunk = 4096
	for {
		var keys [][]byte
		more := false
		err := o.s.scan(outboxKey(o.s.out.oldest()), true, func(key, _ []byte) error {
			if outboxNumber(key) > upTo {
				return errStop
			}
			if len(keys) == chunk {
				more = true
				return errStop
			}
			keys = append(keys, append([]byte(nil), key...))
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			return fmt.Errorf("read the outbox: %w", err)
		}
		if len(keys) == 0 {
			return nil
		}
		if err := o.s.enqueue(op{dels: keys, puts: []entry{o.s.out.mark()}}).wait(); err != nil {
			return fmt.Errorf("clear the outbox: %w", err)
		}
		o.s.out.cleared(len(keys), outboxNumber(keys[len(keys)-1]))
		if !more {
			return nil
		}
	}
}

// Add makes a command durable that belongs to no request; it follows those added before.
func (o *Outbox) Add(command []byte) error {
	if err := o.s.enqueue(op{out: [][]byte{command}}).wait(); err != nil {
		return fmt.Errorf("add to the outbox: %w", err)
	}
	return nil
}

// Wait returns a channel that receives after items were added; several additions may be told
// as one. There is one channel: it is for the one sender.
func (o *Outbox) Wait() <-chan struct{} { return o.s.out.notify }

// Len returns how many items wait.
func (o *Outbox) Len() int { return o.s.out.count() }

// SkipTo makes all numbers given from now on greater than n. The sender calls it at start
// with the last number that the ledger has of this node: should the disk have lost the end of
// the outbox, the numbers of lost items must not be used again.
func (o *Outbox) SkipTo(n uint64) error {
	o.s.out.skip(n)
	if err := o.s.enqueue(op{puts: []entry{o.s.out.mark()}}).wait(); err != nil {
		return fmt.Errorf("mark the outbox: %w", err)
	}
	return nil
}

// errStop ends a scan.
var errStop = errors.New("stop")

func outboxNumber(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:]) }

func outboxContent(item *badger.Item, key []byte) ([]byte, error) {
	rec, err := item.ValueCopy(nil)
	if err != nil {
		return nil, err
	}
	_, content, err := unseal(key, rec)
	return content, err
}

// loadOutbox finds the next number and how many items wait.
func (s *store) loadOutbox() error {
	last := uint64(0)
	err := s.db.View(func(txn *badger.Txn) error {
		mark, _, err := read(txn, metaKey("outbox"))
		switch {
		case errors.Is(err, badger.ErrKeyNotFound):
			return nil
		case err != nil:
			return err
		case len(mark) != 8:
			return errDamaged
		}
		last = binary.BigEndian.Uint64(mark)
		return nil
	})
	if err != nil {
		return fmt.Errorf("outbox mark: %w", err)
	}
	first := uint64(0)
	err = s.scan(outboxKey(0), true, func(key, _ []byte) error {
		last = max(last, outboxNumber(key))
		if first == 0 {
			first = outboxNumber(key)
		}
		s.out.len++
		return nil
	})
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	s.out.next = last + 1
	s.out.first = first
	if s.out.len > 0 {
		s.out.notify <- struct{}{}
	}
	return nil
}

// number gives the next number out.
func (o *outboxState) number() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.next
	o.next++
	return n
}

func (o *outboxState) skip(n uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next = max(o.next, n+1)
}

// last returns the number given out last.
func (o *outboxState) last() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next - 1
}

// oldest returns a number below which there are no items.
func (o *outboxState) oldest() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.first
}

// mark makes the record that keeps numbers growing when all items are gone.
func (o *outboxState) mark() entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := metaKey("outbox")
	return entry{key: key, value: seal(key, layoutPlain, binary.BigEndian.AppendUint64(nil, o.next-1))}
}

// added counts n more items.
func (o *outboxState) added(n int) {
	o.mu.Lock()
	o.len += n
	o.mu.Unlock()
	select {
	case o.notify <- struct{}{}:
	default:
	}
}

// cleared counts n items fewer, the last of them numbered upTo.
func (o *outboxState) cleared(n int, upTo uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.len -= n
	o.first = max(o.first, upTo+1)
}

func (o *outboxState) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.len
}
