package match

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hordenode/internal/horde"
)

var epoch = time.UnixMilli(1_790_000_000_000)

func rid(n int) horde.RequestID {
	var u horde.UUID
	binary.BigEndian.PutUint64(u[8:], uint64(n))
	return horde.RequestID{UUID: u}
}

func put(t testing.TB, q *Queue, o horde.Offer) {
	t.Helper()
	if _, err := q.Put(&o, horde.HomeTag{}, epoch); err != nil {
		t.Fatal(err)
	}
}

func all(q *Queue, w *Worker, payers Payers, only []horde.UserID) []horde.RequestID {
	ids := []horde.RequestID{}
	for c := range q.Candidates(w, payers, only) {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestOrder(t *testing.T) {
	w := &Worker{ID: wid, Kind: horde.KindImage, Owner: owner, Speed: 1e6, Profile: NewProfile(horde.KindImage, imageCaps(), reference{})}
	shape := horde.Shape{Kind: horde.KindImage, SlowOK: true, Sampler: "k_euler"}
	q := NewQueue(horde.KindImage, 1)
	for n, o := range []horde.Offer{
		{Priority: 100},                     // 0
		{Priority: 149, AgeMS: 0},           // 1
		{Priority: 100, AgeMS: 10_000},      // 2: has aged by 50, so before 1
		{Priority: 100, AgeMS: 10_000},      // 3: equal to 2, larger id
		{Priority: 1000},                    // 4
		{Priority: -100, AgeMS: 10_000_000}, // 5: nobody starves
	} {
		o.ID, o.Rev, o.Open, o.Shape, o.Payer = rid(n), 1, 1, shape, alice
		put(t, q, o)
	}
	want := []horde.RequestID{rid(5), rid(4), rid(2), rid(3), rid(1), rid(0)}
	if got := all(q, w, func(horde.UserID) Payer { return Payer{} }, nil); !slices.Equal(got, want) {
		t.Errorf("order = %v, want %v", got, want)
	}
}

func TestRevisions(t *testing.T) {
	q := NewQueue(horde.KindImage, 1)
	o := horde.Offer{ID: rid(1), Rev: 5, Open: 3, Payer: alice, Things: 10, Running: 1}
	put(t, q, o)
	for _, step := range []struct {
		name      string
		rev       uint32
		open      int
		want      bool
		wantSlots int
	}{
		{"the same again", 5, 2, false, 3},
		{"older", 4, 0, false, 3},
		{"newer", 6, 2, true, 2},
		{"closed", 7, 0, true, 0},
		{"open again", 8, 1, true, 1},
	} {
		o.Rev, o.Open = step.rev, step.open
		changed, err := q.Put(&o, horde.HomeTag{}, epoch)
		if err != nil || changed != step.want || q.Slots(alice) != step.wantSlots {
			t.Errorf("%s: Put = %v, %v with %d slots, want %v with %d", step.name, changed, err, q.Slots(alice), step.want, step.wantSlots)
		}
	}
}

// naive is a queue as a list, by the rules as they are written.
type naive struct {
	offers map[horde.RequestID]horde.Offer
	homes  map[horde.RequestID]horde.HomeTag
	at     map[horde.RequestID]int64
}

func (n *naive) sorted() []horde.Offer {
	list := slices.Collect(maps.Values(n.offers))
	slices.SortFunc(list, func(a, b horde.Offer) int {
		// Compared at one moment: priority plus 5 for each second of age.
		ageA, ageB := -n.at[a.ID], -n.at[b.ID]
		if c := cmp.Compare(b.Priority*1000+5*ageB, a.Priority*1000+5*ageA); c != 0 {
			return c
		}
		if c := cmp.Compare(n.at[a.ID], n.at[b.ID]); c != 0 {
			return c
		}
		return cmp.Compare(a.ID.String(), b.ID.String())
	})
	return list
}

func TestQueueAgainstList(t *testing.T) {
	models := []string{"sd", "xl", "flux", "turbo"}
	rapid.Check(t, func(t *rapid.T) {
		q := NewQueue(horde.KindImage, rapid.Uint64().Draw(t, "seed"))
		n := &naive{map[horde.RequestID]horde.Offer{}, map[horde.RequestID]horde.HomeTag{}, map[horde.RequestID]int64{}}
		payers := func(id horde.UserID) Payer {
			return Payer{ID: id, Trusted: id%2 == 0, Spendable: horde.Kudos(id) * 100}
		}
		now := epoch
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "offers") {
					id := rid(rapid.IntRange(0, 100).Draw(t, "id"))
					home := horde.HomeTag{byte(id.UUID[15] % 3)}
					payer := horde.UserID(rapid.IntRange(5, 9).Draw(t, "payer"))
					o := horde.Offer{
						ID: id, Rev: uint32(rapid.IntRange(1, 8).Draw(t, "rev")), Open: rapid.IntRange(0, 3).Draw(t, "open"),
						Shape: horde.Shape{
							Kind: horde.KindImage, SlowOK: true,
							Models:   rapid.SliceOfN(rapid.SampledFrom(models), 0, 3).Draw(t, "models"),
							NSFW:     rapid.Bool().Draw(t, "nsfw"),
							UnsafeIP: rapid.Bool().Draw(t, "unsafe"),
						},
						Payer: payer, Priority: int64(rapid.IntRange(-2, 2).Draw(t, "priority")),
						AgeMS:  int64(rapid.IntRange(0, 2000).Draw(t, "age")),
						Things: int64(rapid.IntRange(0, 100).Draw(t, "things")),
						Job:    horde.Kudos(payer) * 100, Running: rapid.IntRange(0, 3).Draw(t, "running"),
					}
					if o.Rev%2 == 0 {
						o.Job++
					}
					changed, err := q.Put(&o, home, now)
					if err != nil {
						t.Fatal(err)
					}
					old, there := n.offers[id]
					want := there && o.Rev > old.Rev || !there && o.Open > 0
					if changed != want {
						t.Fatalf("Put = %v, want %v", changed, want)
					}
					switch {
					case !want:
					case o.Open == 0:
						delete(n.offers, id)
					default:
						if !there {
							n.at[id] = now.UnixMilli() - o.AgeMS
						}
						n.offers[id], n.homes[id] = o, home
					}
				}
			},
			"remove": func(t *rapid.T) {
				id := rid(rapid.IntRange(0, 100).Draw(t, "id"))
				_, there := n.offers[id]
				if got := q.Remove(id); got != there {
					t.Fatalf("Remove = %v, want %v", got, there)
				}
				delete(n.offers, id)
			},
			"drop": func(t *rapid.T) {
				home := horde.HomeTag{byte(rapid.IntRange(0, 2).Draw(t, "home"))}
				want := 0
				for id := range n.offers {
					if n.homes[id] == home {
						delete(n.offers, id)
						want++
					}
				}
				if got := q.DropHome(home); got != want {
					t.Fatalf("DropHome = %d, want %d", got, want)
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			},
			"": func(t *rapid.T) {
				list := n.sorted()
				checkSums(t, q, n, list)
				caps := imageCaps()
				caps.Models = rapid.SliceOfNDistinct(rapid.SampledFrom(models), 1, 4, rapid.ID).Draw(t, "caps")
				caps.NSFW = rapid.Bool().Draw(t, "allow nsfw")
				w := &Worker{
					ID: wid, Kind: horde.KindImage, Owner: owner, Speed: 1e6, OwnerTrusted: rapid.Bool().Draw(t, "trusted"),
					Maintenance: rapid.Bool().Draw(t, "maintenance"), Profile: NewProfile(horde.KindImage, caps, reference{}),
				}
				var only []horde.UserID
				if rapid.Bool().Draw(t, "only some") {
					only = []horde.UserID{owner, 9, owner}
				}
				want := []horde.RequestID{}
				for _, o := range list {
					p := payers(o.Payer)
					p.Job = o.Job
					if Check(w, &o.Shape, p) == "" && (only == nil || slices.Contains(only, o.Payer)) {
						want = append(want, o.ID)
					}
				}
				if got := all(q, w, payers, only); !slices.Equal(got, want) {
					t.Fatalf("candidates %v, want %v", got, want)
				}
			},
		})
	})
}

func checkSums(t *rapid.T, q *Queue, n *naive, list []horde.Offer) {
	var totals Totals
	slots := map[horde.UserID]int{}
	loads := map[string]Load{}
	var things int64
	for i, o := range list {
		jobs := o.Open + o.Running
		totals.Requests++
		totals.Slots += o.Open
		totals.Jobs += jobs
		totals.Things += o.Things * int64(jobs)
		things += o.Things * int64(o.Open)
		slots[o.Payer] += o.Open
		got, ok := q.Standing(o.ID)
		if want := (Standing{Before: i, Slots: int64(totals.Slots), Things: things}); !ok || got != want {
			t.Fatalf("Standing of %v = %+v, want %+v", o.ID, got, want)
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(o.Shape.Models))) {
			l := loads[name]
			loads[name] = Load{l.Jobs + jobs, l.Things + o.Things*int64(jobs)}
		}
		back, ok := q.Offer(o.ID, epoch)
		if !ok || back.Rev != o.Rev || back.Open != o.Open || back.Payer != o.Payer || back.Running != o.Running {
			t.Fatalf("Offer = %+v, want %+v", back, o)
		}
	}
	if q.Totals() != totals || q.Len() != len(list) {
		t.Fatalf("Totals = %+v, want %+v", q.Totals(), totals)
	}
	for id := horde.UserID(5); id < 10; id++ {
		if q.Slots(id) != slots[id] {
			t.Fatalf("Slots(%d) = %d, want %d", id, q.Slots(id), slots[id])
		}
	}
	if got := q.Loads(); !maps.Equal(got, loads) {
		t.Fatalf("Loads = %v, want %v", got, loads)
	}
	homes := 0
	for b := range byte(3) {
		for id := range q.Home(horde.HomeTag{b}) {
			homes++
			if n.homes[id] != (horde.HomeTag{b}) {
				t.Fatalf("%v is listed at home %d", id, b)
			}
		}
	}
	if homes != len(list) {
		t.Fatalf("%d offers listed by home, want %d", homes, len(list))
	}
}

// A worker that wants kudos up front must not walk the offers of those who have none.
func TestPoorPayersAreSkippedAtOnce(t *testing.T) {
	caps := imageCaps()
	caps.RequireUpfront = true
	w := &Worker{ID: wid, Kind: horde.KindImage, Owner: owner, Speed: 1e6, Profile: NewProfile(horde.KindImage, caps, reference{})}
	q := NewQueue(horde.KindImage, 1)
	shape := horde.Shape{Kind: horde.KindImage, SlowOK: true, Sampler: "k_euler"}
	for i := range 1000 {
		put(t, q, horde.Offer{ID: rid(i), Rev: 1, Open: 1, Shape: shape, Payer: alice, Priority: 1000, Job: 100})
	}
	put(t, q, horde.Offer{ID: rid(5000), Rev: 1, Open: 1, Shape: shape, Payer: 9, Job: 100})
	asked := 0
	got := all(q, w, func(id horde.UserID) Payer {
		asked++
		return Payer{Trusted: id == 9}
	}, nil)
	if want := []horde.RequestID{rid(5000)}; !slices.Equal(got, want) || asked > headWalk+2 {
		t.Errorf("candidates %v after asking of %d payers, want %v after %d", got, asked, want, headWalk+2)
	}
}

// fill makes a queue of n offers over the given number of models, four shapes each.
func fill(b *testing.B, n, models int) *Queue {
	q := NewQueue(horde.KindImage, 1)
	for i := range n {
		o := horde.Offer{
			ID: rid(i), Rev: 1, Open: 1, Payer: horde.UserID(10 + i%1000), Priority: int64(i * 7919 % 100_000), Things: 5_000_000,
			Shape: horde.Shape{
				Kind: horde.KindImage, Models: []string{fmt.Sprintf("model %d", i%models)}, SlowOK: true, Pixels: 512 * 512,
				Sampler: "k_euler", AccurateSteps: 20 + 5*(i/models%4), Karras: true, R2: true,
			},
		}
		put(b, q, o)
	}
	return q
}

func BenchmarkPop(b *testing.B) {
	for _, models := range []int{1, 37, 500} {
		for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
			b.Run(fmt.Sprintf("models=%d/n=%d", models, n), func(b *testing.B) { benchmarkPop(b, n, models) })
		}
	}
}

func benchmarkPop(b *testing.B, n, models int) {
	payers := func(id horde.UserID) Payer { return Payer{ID: id} }
	q := fill(b, n, models)
	caps := imageCaps()
	caps.Models = caps.Models[:0]
	for i := range models {
		caps.Models = append(caps.Models, fmt.Sprintf("model %d", i))
	}
	pop := func(b *testing.B, caps horde.Caps) {
		w := &Worker{ID: wid, Kind: horde.KindImage, Owner: owner, Speed: 1e6, Profile: NewProfile(horde.KindImage, caps, reference{})}
		for b.Loop() {
			var got Candidate
			for c := range q.Candidates(w, payers, nil) {
				got = c
				break
			}
			o, ok := q.Offer(got.ID, epoch) // taken, and a new one comes
			if !ok {
				b.Fatal("found nothing")
			}
			q.Remove(got.ID)
			o.Priority = 0
			if _, err := q.Put(&o, horde.HomeTag{}, epoch); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("all match", func(b *testing.B) { pop(b, caps) })
	b.Run("one model", func(b *testing.B) {
		one := caps
		one.Models = caps.Models[models-1:]
		pop(b, one)
	})
	b.Run("nothing", func(b *testing.B) {
		none := caps
		none.MaxPixels = 64 * 64
		w := &Worker{ID: wid, Kind: horde.KindImage, Owner: owner, Speed: 1e6, Profile: NewProfile(horde.KindImage, none, reference{})}
		for b.Loop() {
			for range q.Candidates(w, payers, nil) {
				b.Fatal("found something")
			}
			if got := q.Skipped(w, payers).Map()["max_pixels"]; got != n {
				b.Fatalf("skipped %d, want %d", got, n)
			}
		}
	})
}

// Forms do not age, and what an offer still asks for changes while it waits.
func TestForms(t *testing.T) {
	alchemist := func(forms ...string) *Worker {
		return &Worker{ID: wid, Kind: horde.KindAlchemy, Owner: owner, Profile: NewProfile(horde.KindAlchemy, horde.Caps{Models: forms, MaxTiles: 1}, reference{})}
	}
	payers := func(horde.UserID) Payer { return Payer{} }
	q := NewQueue(horde.KindAlchemy, 1)
	caption := horde.Shape{Kind: horde.KindAlchemy, Models: []string{"caption"}, Tiles: 1}
	both := horde.Shape{Kind: horde.KindAlchemy, Models: []string{"caption", "nsfw"}, Tiles: 1}
	guarded := horde.Shape{Kind: horde.KindAlchemy, Models: []string{"caption"}, Tiles: 1, TrustedOnly: true}
	put(t, q, horde.Offer{ID: rid(1), Rev: 1, Open: 1, Shape: caption, Priority: 5, AgeMS: 1000_000})
	put(t, q, horde.Offer{ID: rid(2), Rev: 1, Open: 3, Shape: both, Priority: 6})
	put(t, q, horde.Offer{ID: rid(3), Rev: 1, Open: 2, Shape: guarded, Priority: 7})
	put(t, q, horde.Offer{ID: rid(4), Rev: 1, Open: 1, Shape: caption, Priority: 5, AgeMS: 2000_000})
	if got, want := all(q, alchemist("caption"), payers, nil), []horde.RequestID{rid(2), rid(4), rid(1)}; !slices.Equal(got, want) {
		t.Errorf("order = %v, want %v", got, want)
	}
	if got, want := q.Skipped(alchemist("caption"), payers).Map(), map[string]int{"untrusted": 1}; !maps.Equal(got, want) {
		t.Errorf("skipped = %v, want %v", got, want)
	}
	if got := q.Skipped(alchemist("palette"), payers).Map(); len(got) != 0 {
		t.Errorf("skipped = %v, want none: other forms are no reason", got)
	}
	put(t, q, horde.Offer{ID: rid(2), Rev: 2, Open: 1, Shape: horde.Shape{Kind: horde.KindAlchemy, Models: []string{"nsfw"}, Tiles: 1}, Priority: 6})
	if got, want := all(q, alchemist("caption"), payers, nil), []horde.RequestID{rid(4), rid(1)}; !slices.Equal(got, want) {
		t.Errorf("order without the taken form = %v, want %v", got, want)
	}
	if got, want := all(q, alchemist("nsfw"), payers, nil), []horde.RequestID{rid(2)}; !slices.Equal(got, want) {
		t.Errorf("offers with the other form = %v, want %v", got, want)
	}
}
