package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// A Replay derives a ledger again from its log, or from a checkpoint and what follows it, and
// counts what it saw.
//
//	checkpoint ─► Load ─┐
//	entries ────────────┴─► Apply … ─► Compare with what a node stored
//
// Apply is the machine's own: the same signatures, sequence rules and commands.
type Replay struct {
	Entries, Batches, Commands int
	Refused                    []RefusedBatch // had no effect; at most maxRefused are listed
	RefusedCount               int

	m     *Machine
	watch func(Movement)
	user  horde.UserID
	last  Movement

	doings func(Doing)
	booked []Booked
}

// A RefusedBatch stands in the log and had no effect.
type RefusedBatch struct {
	Index  uint64
	Origin horde.NodeID // as it claims; empty if it is not a batch
	Err    error        // one of the errors of DecodeResults
}

const maxRefused = 100

// NewReplay returns a replay of an empty ledger.
func NewReplay() *Replay { return &Replay{m: NewMachine()} }

// Load begins with a checkpoint as of index instead of nothing.
func (r *Replay) Load(index uint64, records iter.Seq2[[]byte, []byte]) error {
	if err := r.m.Load(index, records); err != nil {
		return err
	}
	r.hook()
	return nil
}

// Follow calls f for every change of a user's balances from now on.
func (r *Replay) Follow(user horde.UserID, f func(Movement)) {
	r.user, r.watch = user, f
	r.hook()
}

// Apply applies one entry of the log. An error means that the ledger cannot go on there.
func (r *Replay) Apply(index uint64, stamp int64, entry [32]byte, proposals [][]byte) error {
	answers, err := r.m.Apply(index, stamp, entry, proposals)
	if err != nil {
		return err
	}
	r.Entries++
	for i, a := range answers {
		results, err := DecodeResults(a)
		if err == nil {
			r.Batches++
			r.Commands += len(results)
			continue
		}
		r.RefusedCount++
		if len(r.Refused) < maxRefused {
			b, _ := DecodeBatch(proposals[i]) // what is not a batch has no origin
			r.Refused = append(r.Refused, RefusedBatch{Index: index, Origin: b.Origin, Err: errors.Unwrap(err)})
		}
	}
	return nil
}

// Signed tells whether a batch from before the checkpoint is signed by who it says, with the
// keys that the ledger has now.
func (r *Replay) Signed(proposal []byte) error {
	sealed, b, err := openBatch(proposal)
	if err != nil {
		return ErrMalformed
	}
	meta, origin := r.m.s.meta.get(unit{}), r.m.s.members.get(b.Origin)
	if meta == nil || origin == nil {
		return ErrNotMember
	}
	cluster := meta.Cluster
	if _, ok := foundingOf(&b); ok {
		cluster = ClusterID{}
	}
	if !sealed.signedBy(origin.PublicKey, domainBatch, cluster) {
		return ErrBadSig
	}
	return nil
}

// Machine is the derived ledger.
func (r *Replay) Machine() *Machine { return r.m }

// A Comparison is what a derived ledger and a stored one have in common.
type Comparison struct {
	Rows, Users   int
	Derived, Read [32]byte // state hashes
	Chain         bool     // the heads of the chains are equal
	Differences   []string // at most maxDifferences; none: they are equal
}

const maxDifferences = 20

// Equal tells whether nothing differs.
func (c *Comparison) Equal() bool { return c.Chain && c.Derived == c.Read && len(c.Differences) == 0 }

// Compare holds the derived ledger against stored records, row by row.
func (r *Replay) Compare(stored iter.Seq2[[]byte, []byte]) (Comparison, error) {
	var c Comparison
	differ := func(format string, args ...any) {
		if len(c.Differences) < maxDifferences {
			c.Differences = append(c.Differences, fmt.Sprintf(format, args...))
		}
	}
	kept := map[string][]byte{}
	for k, v := range stored {
		kept[string(k)] = v
	}
	other := NewMachine()
	if err := other.Load(r.m.index, func(yield func(k, v []byte) bool) {
		for k, v := range kept {
			if !yield([]byte(k), v) {
				return
			}
		}
	}); err != nil {
		return c, err
	}
	_, c.Derived = r.m.StateHash()
	_, c.Read = other.StateHash()
	c.Chain = r.m.Head().Chain == other.Head().Chain
	r.m.s.users.all(func(id horde.UserID, u *user) bool {
		c.Users++
		o := other.s.users.get(id)
		switch {
		case o == nil:
			differ("user %d is not in the stored state", id)
		case u.Kudos != o.Kudos || u.Escrow != o.Escrow || u.Held != o.Held:
			differ("user %d: stored balance %v (escrow %v, held %v), derived %v (escrow %v, held %v)", id, o.Kudos, o.Escrow, o.Held, u.Kudos, u.Escrow, u.Held)
		}
		return true
	})
	for k, v := range r.m.Rows() {
		c.Rows++
		got, ok := kept[string(k)]
		delete(kept, string(k))
		switch {
		case !ok:
			differ("row %x is derived, but not stored", k)
		case !bytes.Equal(v, got):
			differ("row %x: %d bytes stored differ from the %d derived", k, len(got), len(v))
		}
	}
	for k := range kept {
		differ("row %x is stored, but not derived", k)
	}
	slices.Sort(c.Differences)
	return c, nil
}

// Rows yields the whole state as it is stored, in the order of the keys.
func (m *Machine) Rows() iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		m.mu.RLock()
		defer m.mu.RUnlock()
		type kv struct{ k, v []byte }
		for _, t := range slices.SortedFunc(slices.Values(m.s.stores), func(a, b store) int { return cmp.Compare(a.tag(), b.tag()) }) {
			var rows []kv
			t.(dumper).eachRow(func(k, v []byte) { rows = append(rows, kv{k, v}) })
			slices.SortFunc(rows, func(a, b kv) int { return bytes.Compare(a.k, b.k) })
			for _, r := range rows {
				if !yield(r.k, r.v) {
					return
				}
			}
		}
	}
}

// Describe reads from stored records, without loading them, where a ledger stands and what
// its state hash is.
func Describe(stored iter.Seq2[[]byte, []byte]) (Head, [32]byte, error) {
	var out Head
	var sum digest
	for k, v := range stored {
		if len(k) == 0 {
			return out, sum, keyError(k, errors.New("empty"))
		}
		switch k[0] {
		case prefixHead: // not part of the state hash
			var h head
			if err := decode(v, &h); err != nil {
				return out, sum, keyError(k, err)
			}
			out.Index, out.Chain, out.Time, out.TickIndex, out.TickHash = h.Index, h.Chain, moment(h.Time), h.TickIndex, h.TickHash
			continue
		case prefixMeta:
			var m meta
			if err := decode(v, &m); err != nil {
				return out, sum, keyError(k, err)
			}
			out.Cluster, out.Epoch = m.Cluster, m.Epoch
		}
		leaf, _ := leafHash(nil, k, v)
		sum.xor(leaf)
	}
	return out, sum, nil
}

// A dumper is a store that can be read from end to end.
type dumper interface{ eachRow(each func(k, v []byte)) }

func (t *table[K, V]) eachRow(each func(k, v []byte)) {
	t.all(func(k K, v *V) bool {
		each(t.key(nil, k), encode(v))
		return true
	})
}

// A Movement is what one command did to a user's balances.
type Movement struct {
	Index   uint64
	At      time.Time // ledger time
	Kind    string    // of the command: "settlement", "transfer"
	Origin  horde.NodeID
	Amount  horde.Kudos // by which the spendable balance changed
	Escrow  horde.Kudos // by which the escrow changed
	Held    horde.Kudos // by which the amount set aside changed
	Balance horde.Kudos // spendable, afterwards
}

// hook has the machine tell of every command; a Load takes that away.
func (r *Replay) hook() {
	if r.watch == nil && r.doings == nil {
		return
	}
	r.last = r.balances()
	r.booked = r.booked[:0]
	r.m.s.booked = &r.booked
	r.m.s.watch = func(tx *tx, data []byte, result Result) {
		r.tellDoing(tx, data, result)
		if r.watch != nil {
			r.tellMovement(tx, data)
		}
	}
}

func (r *Replay) tellMovement(tx *tx, data []byte) {
	now := r.balances()
	if now == r.last {
		return
	}
	k, _, _ := splitCommand(data) // it was applied
	r.watch(Movement{
		Index: tx.index, At: moment(tx.now), Kind: k.String(), Origin: tx.from,
		Amount: now.Balance - r.last.Balance, Escrow: now.Escrow - r.last.Escrow, Held: now.Held - r.last.Held, Balance: now.Balance,
	})
	r.last = now
}

func (r *Replay) balances() Movement {
	if u := r.m.s.users.get(r.user); u != nil {
		return Movement{Balance: u.Kudos, Escrow: u.Escrow, Held: u.Held}
	}
	return Movement{}
}

// String names the kind as the command's type is named.
func (k kind) String() string {
	c, err := newCommand(k)
	if err != nil {
		return fmt.Sprintf("kind %d", uint16(k))
	}
	return strings.TrimPrefix(reflect.TypeOf(c).String(), "*ledger.")
}
