package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// A world is a founded federation of one node: a Log that signs each call as a batch and
// applies it as an entry of its own.
type world struct {
	testing.TB
	*Client
	m   *Machine
	ctx context.Context

	id        horde.NodeID
	key       ed25519.PrivateKey
	boot, seq uint64
	index     uint64
	now       int64 // the leader's clock
	admin     horde.APIKey
	rnd       *rand.ChaCha8
}

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func signer(key ed25519.PrivateKey) func([]byte) []byte {
	return func(b []byte) []byte { return ed25519.Sign(key, b) }
}

func unfounded(tb testing.TB) *world {
	w := &world{
		TB: tb, m: NewMachine(), ctx: tb.Context(), id: "node-a", key: testKey("node-a"), boot: 1,
		now: start.UnixMilli(), rnd: rand.NewChaCha8([32]byte{1}),
	}
	w.Client = NewClient(w.m, w, w.rnd)
	return w
}

func newWorld(tb testing.TB, cfg ...Config) *world {
	tb.Helper()
	w := unfounded(tb)
	cfg = append(cfg, Config{})
	var err error
	w.admin, err = w.Found(w.ctx, horde.Member{
		ID: w.id, Name: "alpha", PublicKey: w.key.Public().(ed25519.PublicKey), URL: "http://a",
	}, cfg[0])
	if err != nil {
		tb.Fatalf("Found: %v", err)
	}
	w.useSealKey(SealKey{1}, nil)
	return w
}

// useSealKey gives the federation, and this node of it, a key for the ids of shared keys.
func (w *world) useSealKey(key SealKey, replaces []byte) {
	w.Helper()
	w.m.UseSealKey(key)
	if _, err := w.do(w.ctx, EncodeSetSealKey(key.Print(), replaces)); err != nil {
		w.Fatalf("set the seal key: %v", err)
	}
}

func (w *world) keysOf(id horde.UserID) []horde.SharedKeyID {
	w.Helper()
	ids, err := w.SharedKeysOf(id)
	if err != nil {
		w.Errorf("SharedKeysOf: %v", err)
	}
	return ids
}

// as returns a Log and Client like w's for another member, over the same machine.
func (w *world) as(id horde.NodeID) *world {
	o := &world{TB: w.TB, m: w.m, ctx: w.ctx, id: id, key: testKey(string(id)), boot: 1, index: w.index, now: w.now, rnd: w.rnd}
	o.Client = NewClient(w.m, o, o.rnd)
	return o
}

func (w *world) batch(cmds ...[]byte) []byte {
	w.seq++
	b := Batch{Cluster: w.Cluster(), Origin: w.id, Boot: w.boot, Seq: w.seq}
	for _, c := range cmds {
		b.Commands = append(b.Commands, Command{Data: c})
	}
	return w.encode(b)
}

func (w *world) encode(b Batch) []byte {
	w.Helper()
	p, err := EncodeBatch(b, signer(w.key))
	if err != nil {
		w.Fatalf("EncodeBatch: %v", err)
	}
	return p
}

func (w *world) apply(proposals ...[]byte) ([][]byte, error) {
	w.index = max(w.index, w.m.Head().Index) + 1
	return w.m.Apply(w.index, w.now, sha256.Sum256(proposals[0]), proposals)
}

// answer applies one proposal and decodes the answer.
func (w *world) answer(proposal []byte) ([]Result, error) {
	a, err := w.apply(proposal)
	if err != nil {
		return nil, err
	}
	return DecodeResults(a[0])
}

func (w *world) Do(_ context.Context, cmds ...[]byte) ([]Result, error) {
	return w.answer(w.batch(cmds...))
}

func (w *world) DoEverywhere(ctx context.Context, cmds ...[]byte) ([]Result, error) {
	return w.Do(ctx, cmds...)
}

func (w *world) Sync(context.Context) error { return nil }

// run applies a command and fails the test if it is refused.
func (w *world) run(cmd []byte) []byte {
	w.Helper()
	data, err := w.do(w.ctx, cmd)
	if err != nil {
		w.Fatalf("command: %v", err)
	}
	return data
}

func (w *world) pass(d time.Duration) { w.now += d.Milliseconds() }

// person makes a user with a balance and roles.
func (w *world) person(name string, kudos horde.Kudos, roles horde.Roles) horde.UserID {
	w.Helper()
	u, _, err := w.CreateUser(w.ctx, NewUser{Name: name, Class: horde.ClassRegistered, Roles: roles, Kudos: kudos})
	if err != nil {
		w.Fatalf("CreateUser(%s): %v", name, err)
	}
	return u.ID
}

func (w *world) user(id horde.UserID) horde.User {
	w.Helper()
	u, ok := w.User(id)
	if !ok {
		w.Fatalf("user %d is not there", id)
	}
	return u
}

func (w *world) worker(owner horde.UserID, kind horde.Kind, name string) horde.WorkerID {
	w.Helper()
	v, err := w.RegisterWorker(w.ctx, NewWorker{Owner: owner, Kind: kind, Name: name})
	if err != nil {
		w.Fatalf("RegisterWorker(%s): %v", name, err)
	}
	return v.ID
}

func (w *world) request() horde.RequestID {
	w.Helper()
	id, err := horde.NewRequestID(w.id.Tag(), w.rnd)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// admit opens a request of the payer, due in an hour.
func (w *world) admit(a horde.Admission) horde.RequestID {
	w.Helper()
	if a.Request.IsZero() {
		a.Request = w.request()
	}
	if a.Slots == 0 {
		a.Slots = 1
	}
	if a.Deadline.IsZero() {
		a.Deadline = time.UnixMilli(w.now).Add(time.Hour)
	}
	if err := w.Admit(w.ctx, a); err != nil {
		w.Fatalf("Admit: %v", err)
	}
	return a.Request
}

func (w *world) settle(s horde.Settlement) error {
	_, err := w.do(w.ctx, w.EncodeSettlement(s))
	return err
}

func (w *world) check() {
	w.Helper()
	if err := w.m.CheckInvariants(); err != nil {
		w.Fatalf("invariants: %v", err)
	}
}

// content is the state hash without the origins, which say how the commands were packed,
// and the quotas, which count refused commands too.
func (m *Machine) content() digest {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := m.s.hash()
	for _, r := range m.s.origins.rows {
		sum.xor(r.leaf)
	}
	for _, r := range m.s.quotas.rows {
		sum.xor(r.leaf)
	}
	return sum
}

// stored returns everything that Changes would have written since the beginning.
func (m *Machine) stored() map[string][]byte {
	out := make(map[string][]byte)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.s.stores {
		s.(interface{ dump(map[string][]byte) }).dump(out)
	}
	return out
}

func (t *table[K, V]) dump(out map[string][]byte) {
	for _, r := range t.rows {
		if r.live {
			out[string(t.key(nil, r.k))] = encode(&r.v)
		}
	}
}

// wantRC fails unless err is a refusal with that code; the empty code means no error.
func wantRC(tb testing.TB, err error, want horde.RC) {
	tb.Helper()
	var refusal *horde.Error
	switch {
	case want == "" && err != nil:
		tb.Errorf("got %v, want no error", err)
	case want != "" && (!errors.As(err, &refusal) || refusal.RC != want):
		tb.Errorf("got %v, want %s", err, want)
	case want != "" && refusal.Msg == "":
		tb.Errorf("%s has no message", want)
	}
}

func ptr[T any](v T) *T { return &v }
