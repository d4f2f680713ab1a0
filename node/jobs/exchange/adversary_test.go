package exchange

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

// What a member with a valid key can do to others that means them harm: what it costs them,
// and what is written down about it. The node's whole gate is tested in package node.

const mallory = horde.NodeID("mallory")

// evidence is what a node has logged.
type evidence struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (e *evidence) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.buf.Write(b)
}

// names tells whether one line has all the words.
func (e *evidence) names(words ...string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for line := range strings.Lines(e.buf.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

// A liar is a network in which mallory answers whatever it likes.
type liar func(proto string, req []byte) ([]byte, error)

func (l liar) Call(_ context.Context, to horde.NodeID, proto string, req []byte) ([]byte, error) {
	if to != mallory {
		return nil, errAway
	}
	return l(proto, req)
}

func (liar) Publish(context.Context, string, []byte) error { return nil }

// victim runs a node that knows mallory and one honest member, b.
func victim(t *testing.T, answer liar) (*Exchange, *fakeHome, *fakeLedger, *evidence) {
	t.Helper()
	self := horde.NodeID("a")
	l := newFakeLedger()
	for _, id := range []horde.NodeID{self, "b", mallory} {
		l.addMember(horde.Member{ID: id, Name: string(id), Active: true})
	}
	home := &fakeHome{tag: self.Tag(), requests: map[horde.RequestID]*horde.Offer{}, nonces: map[[16]byte]horde.Answer{}}
	seen := &evidence{}
	e, err := New(Config{
		Self: self, Home: home, Blobs: &fakeBlobs{blobs: map[string][]byte{}}, Ledger: l, Network: answer, Models: noModels{},
		Now: time.Now, Rand: &lockedRand{r: rand.NewChaCha8([32]byte{1})}, Log: slog.New(slog.NewTextHandler(seen, nil)),
		Outbox: func([]byte) error { return nil }, UptimeReward: func(horde.Kind, horde.Caps) horde.Kudos { return 0 },
	})
	if err != nil {
		t.Fatal(err)
	}
	home.watch(e)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return e, home, l, seen
}

func idOf(node horde.NodeID, n uint32) horde.RequestID {
	tag := node.Tag()
	return horde.RequestID{UUID: horde.UUID{tag[0], tag[1], tag[2], tag[3], tag[4], tag[5], 0x80, 8: byte(n >> 24), 9: byte(n >> 16), 10: byte(n >> 8), 11: byte(n)}}
}

func textOffer(node horde.NodeID, n uint32) horde.Offer {
	return horde.Offer{ID: idOf(node, n), Rev: 1, Open: 1, Payer: alice, Things: 80, Shape: horde.Shape{Kind: horde.KindText, Models: []string{"m"}, SlowOK: true, MaxLength: 80}}
}

// tell has a node get a message as pubsub brings it, and returns the verdict.
func tell(t *testing.T, e *Exchange, from horde.NodeID, msg any) Verdict {
	t.Helper()
	data, err := encode(msg)
	if err != nil {
		t.Fatal(err)
	}
	v := e.ValidateText(from, data)
	if v == Accept {
		e.DeliverText(from, data)
	}
	return v
}

func away(string, []byte) ([]byte, error) { return nil, errAway }

func (e *Exchange) offersOf(node horde.NodeID) int {
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	return e.index.queues[horde.KindText].HomeLen(node.Tag())
}

func TestAdversaryForgesOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _, seen := victim(t, away)
		if got := tell(t, e, "b", batch{Boot: 5, Seq: 1, Offers: []horde.Offer{textOffer("b", 1)}}); got != Accept {
			t.Fatalf("an honest offer: %v, want %v", got, Accept)
		}
		image := textOffer(mallory, 2)
		image.Shape.Kind = horde.KindImage
		for name, msg := range map[string]any{
			"an offer with another home's id":    batch{Boot: 5, Seq: 1, Offers: []horde.Offer{textOffer("b", 2)}},
			"an offer with the victim's id":      batch{Boot: 5, Seq: 1, Offers: []horde.Offer{textOffer("a", 2)}},
			"closing another home's offer":       batch{Boot: 5, Seq: 1, Closed: []closed{{ID: idOf("b", 1), Rev: 9}}},
			"an offer of nobody's":               batch{Boot: 5, Seq: 1, Offers: []horde.Offer{textOffer("nobody", 2)}},
			"an offer of another kind":           batch{Boot: 5, Seq: 1, Offers: []horde.Offer{image}},
			"too large":                          batch{Boot: 5, Seq: 1, Closed: manyClosed(idOf(mallory, 1), 4000)},
			"one foreign offer among a thousand": batch{Boot: 5, Seq: 1, Offers: []horde.Offer{textOffer(mallory, 1), textOffer("b", 3)}},
		} {
			if got := tell(t, e, mallory, msg); got != Reject {
				t.Errorf("%s: %v, want %v", name, got, Reject)
			}
		}
		if got := e.offersOf("b"); got != 1 || e.offersOf(mallory)+e.offersOf("a") != 0 {
			t.Errorf("%d offers of b and %d of mallory, want 1 and 0", got, e.offersOf(mallory))
		}
		if !seen.names("WARN", "from=mallory", "another home") {
			t.Error("nothing is logged about who forged what")
		}
	})
}

// Row 40: what was once told is not told again by repeating it.
func TestAdversaryReplaysAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _, _ := victim(t, away)
		first := batch{Boot: 5, Seq: 1, Offers: []horde.Offer{textOffer("b", 1)}}
		for i, msg := range []batch{first, {Boot: 5, Seq: 2, Closed: []closed{{ID: idOf("b", 1), Rev: 2}}}} {
			if got := tell(t, e, "b", msg); got != Accept {
				t.Fatalf("message %d: %v, want %v", i, got, Accept)
			}
		}
		data, err := encode(first)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if got := e.ValidateText("b", data); got != Ignore {
				t.Fatalf("a replay: %v, want %v", got, Ignore)
			}
			e.DeliverText("b", data) // even if it passed
		}
		if n := e.offersOf("b"); n != 0 {
			t.Errorf("%d offers after replays, want 0", n)
		}
		if got := tell(t, e, "b", batch{Boot: 6, Seq: 1, Offers: []horde.Offer{textOffer("b", 2)}}); got != Accept {
			t.Fatalf("the next boot: %v, want %v", got, Accept)
		}
		if got := e.ValidateText("b", data); got != Ignore || e.offersOf("b") != 1 {
			t.Errorf("a replay of the boot before: %v and %d offers, want %v and 1", got, e.offersOf("b"), Ignore)
		}
	})
}

func TestAdversaryEquivocates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _, seen := victim(t, away)
		one := batch{Boot: 5, Seq: 7, Offers: []horde.Offer{textOffer(mallory, 1)}}
		two := batch{Boot: 5, Seq: 7, Offers: []horde.Offer{textOffer(mallory, 2)}}
		if a, b := tell(t, e, mallory, one), tell(t, e, mallory, one); a != Accept || b != Ignore || seen.names("equivocation") {
			t.Fatalf("a message and its repeat: %v, %v, accused: %v, want %v, %v and no accusation", a, b, seen.names("equivocation"), Accept, Ignore)
		}
		if got := tell(t, e, mallory, two); got != Ignore {
			t.Errorf("another message of the number: %v, want %v", got, Ignore)
		}
		if e.offersOf(mallory) != 1 || !seen.names("WARN", "equivocation", "from=mallory", "seq=7") {
			t.Errorf("%d offers, want the first; the log names who and what: %v", e.offersOf(mallory), seen.names("equivocation"))
		}
	})
}

// A flood costs what a sender's bucket lets through, and takes nothing from others.
func TestAdversaryFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _, _ := victim(t, away)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		taken := 0
		const messages, per = 140, 400
		for n := range uint32(messages) {
			b := batch{Boot: 5, Seq: uint64(n) + 1}
			for i := range uint32(per) {
				b.Offers = append(b.Offers, textOffer(mallory, n*per+i))
			}
			if tell(t, e, mallory, b) == Accept {
				taken++
			}
		}
		if most := senderBurst/per + 1; taken > most {
			t.Errorf("%d messages at once were taken, want at most %d", taken, most)
		}
		if got := tell(t, e, "b", batch{Boot: 5, Seq: 1, Offers: []horde.Offer{textOffer("b", 1)}}); got != Accept {
			t.Errorf("an honest message during the flood: %v, want %v", got, Accept)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) >> 20; grown > 32 {
			t.Errorf("the flood holds %d MiB, want at most 32", grown)
		} else {
			t.Logf("%d of %d messages taken, %d offers, %d MiB", taken, messages, e.offersOf(mallory), grown)
		}
	})
}

// Times and priorities that cannot be are cut; a boot of the far future locks out its sender only.
func TestAdversaryTellsTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _, _ := victim(t, away)
		o := textOffer(mallory, 1)
		o.AgeMS, o.Priority, o.Things, o.Running = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt
		if got := tell(t, e, mallory, batch{Boot: math.MaxUint64, Seq: math.MaxUint64, Offers: []horde.Offer{o}}); got != Accept {
			t.Fatalf("an offer from the beginning of time: %v, want %v", got, Accept)
		}
		if got := tell(t, e, "b", batch{Boot: 5, Seq: 1, Offers: []horde.Offer{textOffer("b", 1)}}); got != Accept {
			t.Errorf("an honest message after it: %v, want %v", got, Accept)
		}
		e.index.mu.RLock()
		got, ok := e.index.queues[horde.KindText].Offer(o.ID, time.Now())
		e.index.mu.RUnlock()
		if !ok || got.AgeMS < 0 || got.AgeMS > (31*24*time.Hour).Milliseconds() || got.Things < 0 || got.Things == math.MaxInt64 {
			t.Errorf("it is kept as %+v, want values that can be", got)
		}
		if p := e.Performance(); p.QueuedTokens < 0 {
			t.Errorf("%d tokens are queued: the sum has run over", p.QueuedTokens)
		}
		if got := tell(t, e, mallory, batch{Boot: 6, Seq: 1, Offers: []horde.Offer{textOffer(mallory, 2)}}); got != Ignore {
			t.Errorf("mallory after that: %v, want %v", got, Ignore)
		}
	})
}

// A member that claims and does not deliver gets few jobs; others get as many as before.
func TestAdversaryGrabsJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, home, _, seen := victim(t, away)
		n := uint32(0)
		nonce := byte(0)
		claims := func(from horde.NodeID) (granted []horde.JobID) {
			for range 40 {
				n++
				nonce++
				o := textOffer("a", n)
				home.put(o)
				req, err := encode(&horde.Claim{Nonce: [16]byte{nonce, byte(n >> 8), byte(n)}, Worker: horde.WorkerID{UUID: horde.UUID{1}}, Amount: 1, Want: []horde.RequestID{o.ID}})
				if err != nil {
					t.Fatal(err)
				}
				data, err := e.HandleClaim(t.Context(), from, req)
				if err != nil {
					t.Fatal(err)
				}
				if res, err := decode[claimResponse](data); err != nil {
					t.Fatal(err)
				} else if res.Answer != nil && res.Answer.Grant != nil {
					granted = append(granted, res.Answer.Grant.Jobs...)
				}
			}
			return granted
		}
		if got := len(claims(mallory)); got != 40 {
			t.Fatalf("%d jobs at first, want 40", got)
		}
		settle(151 * time.Second)
		if got := len(claims(mallory)); got != onProbation {
			t.Errorf("%d jobs after 40 that were not delivered, want %d", got, onProbation)
		}
		if !seen.names("WARN", "node=mallory", "lapsed=40") {
			t.Error("nothing is logged about who does not deliver")
		}
		honest := claims("b")
		if len(honest) != 40 {
			t.Errorf("%d jobs for an honest member, want 40", len(honest))
		}
		settle(151 * time.Second) // cut off: all its results come late
		for _, job := range honest {
			if _, err := e.ownSubmit(t.Context(), horde.Submission{Job: job, State: "ok"}); !errors.Is(err, horde.RCInvalidJobID) {
				t.Fatalf("late result: %v, want %v", err, horde.RCInvalidJobID)
			}
		}
		if got := len(claims("b")); got != 40 {
			t.Errorf("%d jobs for a member that was cut off, want 40", got)
		}
		settle(2 * time.Hour)
		if got := len(claims(mallory)); got < 8 {
			t.Errorf("%d jobs two hours later, want a new chance", got)
		}
	})
}

// Pages of lies are not taken in, are written down, and are not asked for all the time.
func TestAdversaryLiesInSync(t *testing.T) {
	page := func(n int, offers ...horde.Offer) ([]byte, error) {
		res := syncResponse{Boot: 5, Seq: 1, Snapshot: 1, Next: n + 1, More: n >= 0}
		for i := range offers {
			raw, err := encode(&offers[i])
			if err != nil {
				return nil, err
			}
			res.Offers = append(res.Offers, raw)
		}
		return encode(&res)
	}
	for name, lie := range map[string]liar{
		"foreign offers": func(string, []byte) ([]byte, error) { return page(-1, textOffer("b", 1)) },
		"endless": func(_ string, req []byte) ([]byte, error) {
			r, err := decode[syncRequest](req)
			if err != nil {
				return nil, err
			}
			return page(r.Offset)
		},
		"huge":     func(string, []byte) ([]byte, error) { return make([]byte, MaxSyncPage+1), nil },
		"nonsense": func(string, []byte) ([]byte, error) { return []byte("nonsense"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				calls := 0
				e, _, _, seen := victim(t, func(proto string, req []byte) ([]byte, error) {
					mu.Lock()
					defer mu.Unlock()
					if proto == ProtoSync {
						calls++
					}
					return lie(proto, req)
				})
				e.Connected(mallory)
				settle(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if most := 30; calls == 0 || calls > most {
					t.Errorf("%d calls in a minute, want 1 to %d", calls, most)
				}
				if e.offersOf("b")+e.offersOf(mallory) != 0 || !seen.names("WARN", "sync failed", "node=mallory") {
					t.Errorf("%d offers taken in, logged: %v, want none and who it was", e.offersOf("b")+e.offersOf(mallory), seen.names("sync failed"))
				}
				t.Logf("%d calls in a minute", calls)
			})
		})
	}
}

func TestAdversaryExpelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, l, _ := victim(t, away)
		if got := tell(t, e, mallory, batch{Boot: 5, Seq: 1, Offers: []horde.Offer{textOffer(mallory, 1)}}); got != Accept || e.offersOf(mallory) != 1 {
			t.Fatalf("before: %v, %d offers, want %v and 1", got, e.offersOf(mallory), Accept)
		}
		l.mu.Lock()
		for i := range l.members {
			l.members[i].Active = l.members[i].ID != mallory
		}
		l.mu.Unlock()
		within(t, 2*time.Second, "its offers are dropped", func() bool { return e.offersOf(mallory) == 0 })
		if got := tell(t, e, mallory, batch{Boot: 5, Seq: 2, Offers: []horde.Offer{textOffer(mallory, 2)}}); got != Reject {
			t.Errorf("after: %v, want %v", got, Reject)
		}
	})
}
