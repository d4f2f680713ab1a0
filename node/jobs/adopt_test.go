package jobs

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// itemsOf is what is copied of a request now.
func (w *world) itemsOf(id horde.RequestID) map[string][]byte {
	w.t.Helper()
	r, ok := w.request(id)
	if !ok {
		w.t.Fatalf("request %s is not here", id)
	}
	list, err := w.copies(r)
	if err != nil {
		w.t.Fatalf("copies: %v", err)
	}
	items := map[string][]byte{}
	for _, x := range list {
		items[x.what] = x.data
	}
	return items
}

// adopts has the books' hold of a request and adopts it.
func (w *world) adopts(from *world, id horde.RequestID, items map[string][]byte) {
	w.t.Helper()
	w.books.mu.Lock()
	held := w.books.holds[id] != nil
	w.books.mu.Unlock()
	if err := w.Adopt(context.Background(), id, items, Adopted{Held: held, Item: from.store.out.oldest() - 1}); err != nil {
		w.t.Fatalf("Adopt: %v", err)
	}
}

// successor is a home with the same books.
func (w *world) successor() *world {
	s := newWorld(w.t.(*testing.T))
	s.books = w.books
	if err := s.Home.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open(s.dir)
	return s
}

// A job that runs at the successor and was delivered at its home meanwhile is delivered: its
// result is kept and its worker paid.
func TestMergeOfAResultForARunningJob(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(2))
	job := w.granted(worker, 1, id)[0]
	w.wantSent("A")
	s := w.successor()
	s.adopts(w, id, w.itemsOf(id))
	s.want(id, counts{waiting: 1, processing: 1})

	w.deliver(job, bob)
	s.adopts(w, id, w.itemsOf(id))
	s.want(id, counts{waiting: 1, finished: 1})
	if st := s.status(id); len(st.Generations) != 1 || st.Generations[0].ID != job {
		t.Errorf("generations = %+v, want that of %s", st.Generations, job)
	}
	s.wantSent("S")
	s.adopts(w, id, w.itemsOf(id)) // the same again
	s.wantSent("")
	s.crash()
	s.want(id, counts{waiting: 1, finished: 1})
}

// A request whose end the ledger has is not admitted a second time, however much else its
// home had still to tell.
func TestAdoptionOfAFinishedRequestChargesNothing(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t)
		worker := w.books.worker(1, bob)
		id := w.accept(w.text(1))
		w.deliver(w.granted(worker, 1, id)[0], bob)
		w.wantSent("ASF")
		if restart {
			w.crash()
		}
		w.accept(w.text(1)) // waits for the ledger
		s := w.successor()
		s.adopts(w, id, w.itemsOf(id))
		s.want(id, counts{finished: 1, done: true})
		if sent := s.items(); strings.ContainsAny(sent, "AF") {
			t.Errorf("restart %v: the successor sends %q, want no admission", restart, sent)
		}
	}
}

// items are the kinds of commands in the outbox.
func (w *world) items() (kinds string) {
	w.t.Helper()
	items, err := w.Outbox().Pending(0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, it := range items {
		kinds += string(it.Data[:1])
	}
	return kinds
}

// Nobody works for a request that the ledger has closed, be it that not all results were copied.
func TestAdoptionOfAFinishedRequestOffersNothing(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(2))
	jobs := w.granted(worker, 2, id)
	lost := jobs[1]
	running := w.itemsOf(id)[itemJob+lost.String()]
	for _, j := range jobs {
		w.deliver(j, bob)
	}
	w.wantSent("ASSF")
	items := w.itemsOf(id)
	delete(items, itemResult+lost.String())
	s := w.successor()
	s.adopts(w, id, items)
	s.want(id, counts{finished: 1, done: true, faulted: true})

	items[itemJob+lost.String()] = running
	s = w.successor()
	s.adopts(w, id, items)
	s.want(id, counts{finished: 1, done: true, faulted: true})
}

// What is wrong with copies is refused and does no harm.
func TestDamagedCopies(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id, other := w.accept(w.text(1)), w.accept(w.text(1))
	w.deliver(w.granted(worker, 1, id)[0], bob)
	w.deliver(w.granted(worker, 1, other)[0], bob)
	s := w.successor()
	for name, change := range map[string]func(map[string][]byte){
		"an item without a name": func(m map[string][]byte) { m[""] = nil },
		"an unknown item":        func(m map[string][]byte) { m["?"] = nil },
		"no record":              func(m map[string][]byte) { m[itemRequest] = []byte{1} },
		"another request":        func(m map[string][]byte) { m[itemRequest] = w.itemsOf(other)[itemRequest] },
		"results of another": func(m map[string][]byte) {
			for what, data := range w.itemsOf(other) {
				if strings.HasPrefix(what, itemResult) {
					m[what] = data
				}
			}
		},
	} {
		items := w.itemsOf(id)
		change(items)
		if err := s.Adopt(t.Context(), id, items, Adopted{}); err == nil {
			t.Errorf("%s: adopted", name)
		}
	}
	if got := s.items(); got != "" {
		t.Errorf("the outbox has %q", got)
	}
}

// shadow is a backup that remembers.
type shadow struct {
	mu    sync.Mutex
	items map[horde.RequestID]map[string][]byte
}

func (b *shadow) Keep(id horde.RequestID, what string, data []byte, _ time.Time) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.items[id] == nil {
		b.items[id] = map[string][]byte{}
	}
	b.items[id][what] = slices.Clone(data)
	done := make(chan struct{})
	close(done)
	return done
}

func (b *shadow) Drop(id horde.RequestID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.items, id)
}

// A successor's own backup has what the successor adopted, not only the request: results,
// jobs and what was cancelled.
func TestAdoptedRequestsAreCopiedWhole(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(3))
	jobs := w.granted(worker, 2, id)
	w.deliver(jobs[0], bob)
	w.wantSent("AS")
	s := w.successor()
	backup := &shadow{items: map[horde.RequestID]map[string][]byte{}}
	s.Home.backup = backup
	s.adopts(w, id, w.itemsOf(id))
	for _, what := range []string{itemRequest, itemResult + jobs[0].String(), itemJob + jobs[1].String()} {
		if backup.items[id][what] == nil {
			t.Errorf("the second backup lacks %q", what)
		}
	}
	w.deliver(jobs[1], bob)
	if _, err := w.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	s.adopts(w, id, w.itemsOf(id))
	for _, what := range []string{itemEnd, itemResult + jobs[1].String()} {
		if backup.items[id][what] == nil {
			t.Errorf("after the handover the second backup lacks %q", what)
		}
	}

	third := w.successor()
	third.adopts(s, id, backup.items[id])
	third.want(id, counts{finished: 2, done: countsOf(s.status(id)).done})
}
