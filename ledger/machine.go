package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"hordenode/internal/horde"
)

// ErrDiverged means that this node's state is not what the federation agreed on. It must
// stop and take the state from another.
var ErrDiverged = errors.New("the ledger's state has diverged")

// A Machine holds the whole ledger in memory and applies the log to it. Apply, Changes and
// Load belong to one caller, never at the same time; reads may come at any time.
type Machine struct {
	mu      sync.RWMutex // guards what follows; held for writing while state changes
	s       *state
	index   uint64 // of the last entry applied or loaded
	flushed uint64 // index that the last Changes or Load brought the stored state to
	failed  error  // why the node must stop; nothing is applied or flushed after it

	supports Version                 // the newest that it can apply
	sealKey  atomic.Pointer[SealKey] // no part of the state; nil: this node has none
}

// NewMachine returns a machine without a federation: the first command it accepts is
// Genesis.
func NewMachine() *Machine { return &Machine{s: newState(), supports: NewestVersion} }

// Apply applies the proposals of one log entry in order and returns an answer for each
// (see DecodeResults). stamp is the leader's clock when it packed the entry, Unix
// milliseconds; entry is the entry's hash, for the chain. After an error the machine
// applies and flushes nothing more: what it stored is as of the last Changes, and the
// entries since are in the log.
func (m *Machine) Apply(index uint64, stamp int64, entry [32]byte, proposals [][]byte) ([][]byte, error) {
	if m.failed != nil {
		return nil, m.failed
	}
	if index <= m.index {
		return nil, fmt.Errorf("entry %d comes after %d", index, m.index)
	}
	batches := make([]arrival, len(proposals))
	for i, p := range proposals { // the expensive part, while readers still read
		batches[i] = m.s.open(p)
		batches[i].nth = i
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.s.advance(index, stamp, entry)
	answers := make([][]byte, len(proposals))
	for i := range batches {
		answer, err := m.s.applyBatch(&batches[i], index, h)
		if err != nil {
			m.failed = fmt.Errorf("entry %d, proposal %d: %w", index, i, err)
			return nil, m.failed
		}
		answers[i] = answer
	}
	m.index = index
	return answers, nil
}

// advance moves the head of the log and returns the ledger time.
func (s *state) advance(index uint64, stamp int64, entry digest) (now int64) {
	h := s.head.edit(unit{})
	if h == nil {
		h = s.head.put(unit{}, head{})
	}
	var link [2*len(digest{}) + 8]byte
	copy(link[:], h.Chain[:])
	binary.BigEndian.PutUint64(link[len(digest{}):], index)
	copy(link[len(digest{})+8:], entry[:])
	h.Chain = sha256.Sum256(link[:])
	h.Index = index
	h.Time = max(h.Time, stamp)
	now = h.Time
	s.log.commit()
	return now
}

// An arrival is a proposal, decoded, with the key that its signature was found good for.
type arrival struct {
	sealed sealed
	batch  Batch
	nth    int               // among the proposals of its entry
	key    ed25519.PublicKey // nil: the signature is not good for the key known when it came
	err    error             // it is not a batch
}

// signer returns the key and the cluster that a batch must be signed for, or a refusal.
func (s *state) signer(b *Batch) (ed25519.PublicKey, ClusterID, uint8) {
	if m := s.meta.get(unit{}); m != nil {
		o := s.members.get(b.Origin)
		if o != nil && o.Active && o.Suspended {
			return nil, ClusterID{}, codeSuspended
		}
		if o != nil && o.Active {
			return o.PublicKey, m.Cluster, codeOK
		}
		return nil, ClusterID{}, codeNotMember
	}
	if g, ok := foundingOf(b); ok {
		return g.Founder.PublicKey, ClusterID{}, codeOK
	}
	return nil, ClusterID{}, codeNotFounded
}

func (s *state) open(proposal []byte) arrival {
	var a arrival
	if a.sealed, a.batch, a.err = openBatch(proposal); a.err != nil {
		return a
	}
	if key, cluster, code := s.signer(&a.batch); code == codeOK && a.sealed.signedBy(key, domainBatch, cluster) {
		a.key = key
	}
	return a
}

// applyBatch applies a batch once. An error stops the node.
func (s *state) applyBatch(a *arrival, index uint64, now int64) ([]byte, error) {
	if a.err != nil {
		return refuseBatch(codeMalformed), nil
	}
	b := &a.batch
	key, cluster, code := s.signer(b)
	if code != codeOK {
		return refuseBatch(code), nil
	}
	// The key may have changed since the batch was opened, by an earlier batch of the entry.
	if (a.key == nil || !key.Equal(a.key)) && !a.sealed.signedBy(key, domainBatch, cluster) {
		return refuseBatch(codeBadSig), nil
	}
	o := origin{}
	if last := s.origins.get(b.Origin); last != nil {
		o = *last
	}
	switch {
	case s.forgetful: // see Forgetful
	case b.Boot < o.Boot:
		return refuseBatch(codeFenced), nil
	case b.Boot == o.Boot && b.Seq == o.Seq && o.Seq != 0:
		return o.Answer, nil
	case b.Boot == o.Boot && b.Seq != o.Seq+1, b.Boot > o.Boot && b.Seq != 1:
		return refuseBatch(codeOutOfOrder), nil
	}
	o.Boot, o.Seq = b.Boot, b.Seq
	var used quota
	if q := s.quotas.get(b.Origin); q != nil {
		used = *q
	}
	tx := tx{state: s, from: b.Origin, index: index, now: now, used: &used}
	results := make([]Result, len(b.Commands))
	for i, c := range b.Commands {
		if c.Item != 0 && c.Item <= o.Item {
			continue // done before
		}
		if !tx.admit() { // nor is anything behind it in this batch: durable commands keep their order
			results[i] = tooFast(c.Item != 0)
			continue
		}
		if c.Item != 0 {
			o.Item = c.Item
		}
		r, err := tx.run(c.Data)
		if err != nil {
			return nil, fmt.Errorf("command %d of %s: %w", i, b.Origin, err)
		}
		results[i] = r
		if s.watch != nil {
			tx.place = Place{Index: index, Batch: uint16(a.nth), Nth: uint16(i)}
			s.watch(&tx, c.Data, results[i])
		}
	}
	o.Answer = encode(answer{Results: results})
	s.origins.put(b.Origin, o)
	s.quotas.put(b.Origin, used)
	s.log.commit()
	return o.Answer, nil
}

// Dirty is how many keys Changes would return.
func (m *Machine) Dirty() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.failed != nil {
		return 0
	}
	n := 0
	for _, t := range m.s.stores {
		n += t.pending()
	}
	return n
}

// Changes returns what was written since the last call (nil value: deleted) and the index
// that these writes bring the stored state to.
func (m *Machine) Changes() (writes map[string][]byte, index uint64) {
	m.mu.RLock() // encoding takes a while: let readers in
	if m.failed != nil {
		defer m.mu.RUnlock()
		return nil, m.flushed
	}
	writes = make(map[string][]byte)
	for _, t := range m.s.stores {
		t.flush(writes, &m.s.sum)
	}
	m.mu.RUnlock()

	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.s.stores {
		t.flushed()
	}
	m.flushed = m.index
	return writes, m.index
}

// Load replaces the whole state by the stored one, which is as of index. On an error the
// state is as before.
func (m *Machine) Load(index uint64, stored iter.Seq2[[]byte, []byte]) error {
	s := newState()
	s.supports, s.forgetful = m.supports, m.s.forgetful
	var tables [256]store
	for _, t := range s.stores {
		tables[t.tag()] = t
	}
	for key, value := range stored {
		if len(key) == 0 || tables[key[0]] == nil {
			return fmt.Errorf("load ledger: %w: %w", ErrVersion, keyError(key, errors.New("unknown table")))
		}
		if err := tables[key[0]].load(key, value, &s.sum); err != nil {
			return fmt.Errorf("load ledger: %w", err)
		}
	}
	if h := s.head.get(unit{}); h != nil && h.Index > index {
		return fmt.Errorf("load ledger: state of index %d is labelled %d", h.Index, index)
	}
	if v := s.version(); v > m.supports {
		return fmt.Errorf("load ledger: %w (it is at version %d, this program knows %d)", ErrVersion, v, m.supports)
	}
	s.remind()
	s.proofs.update(s)
	s.users.all(func(_ horde.UserID, u *user) bool {
		s.totals.Spendable += u.Kudos
		s.totals.Escrow += u.Escrow
		s.totals.Held += u.Held
		return true
	})

	m.mu.Lock()
	defer m.mu.Unlock()
	m.s, m.index, m.flushed, m.failed = s, index, index, nil
	return nil
}

// StateHash returns the hash of the whole state as it is now, with the index of the last
// entry applied. It takes time in the number of rows changed since the last Tick or
// Changes, and readers wait.
func (m *Machine) StateHash() (index uint64, hash [32]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.index, m.s.hash()
}

// A Head is where a machine is in the log.
type Head struct {
	Cluster   ClusterID // zero before Genesis
	Epoch     uint64
	Index     uint64    // of the last entry applied or loaded
	Chain     [32]byte  // hash over all entries up to Index
	Time      time.Time // ledger time
	TickIndex uint64    // of the last Tick, 0 before the first
	TickHash  [32]byte  // state hash at TickIndex
	Failed    error     // why the machine stopped, or nil
}

// Head returns where the machine is in the log.
func (m *Machine) Head() Head {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := Head{Index: m.index, Failed: m.failed}
	if h := m.s.head.get(unit{}); h != nil {
		out.Chain, out.Time, out.TickIndex, out.TickHash = h.Chain, moment(h.Time), h.TickIndex, h.TickHash
	}
	if c := m.s.meta.get(unit{}); c != nil {
		out.Cluster, out.Epoch = c.Cluster, c.Epoch
	}
	return out
}
