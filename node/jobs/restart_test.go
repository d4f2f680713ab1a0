package jobs

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"hordenode/internal/horde"
)

// crash opens a home on what the disk has at this moment, as after a kill -9, and leaves the
// old one behind.
func (w *world) crash() {
	t := w.t.(*testing.T)
	t.Helper()
	dir := t.TempDir()
	for {
		before := w.files()
		for name := range before {
			if err := copyFile(filepath.Join(dir, name), filepath.Join(w.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if maps.Equal(before, w.files()) {
			break // Badger did not flush or compact in between: the copy is of one moment
		}
		for name := range before {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	old := w.Home
	t.Cleanup(func() { old.Close() })
	w.dir = dir
	w.open(dir)
}

// files returns the files of the store with their sizes.
func (w *world) files() map[string]int64 {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	files := map[string]int64{}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.Name() != "LOCK" {
			files[e.Name()] = info.Size()
		}
	}
	return files
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func TestCrash(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	open, half, over, image := w.accept(w.text(2)), w.accept(w.text(3)), w.accept(w.text(1)), w.accept(w.image(1))
	jobs := w.granted(worker, 2, half)
	w.deliver(jobs[0], bob)
	w.deliver(w.granted(worker, 1, over)[0], bob)
	rev := w.watch.offer(half).Rev
	before := w.status(half)

	w.pass(140 * time.Second) // of a lease of 150 s
	w.crash()
	for _, o := range w.Offers() {
		if o.ID == half && o.Rev <= rev {
			t.Errorf("offer has revision %d, had %d before", o.Rev, rev)
		}
		w.watch.OfferChanged(o)
	}
	w.want(open, counts{waiting: 2})
	w.want(half, counts{waiting: 1, processing: 1, finished: 1})
	w.want(over, counts{finished: 1, done: true})
	w.want(image, counts{waiting: 1})
	after := w.status(half)
	if after.Kudos != before.Kudos || string(after.Generations[0].Result) != string(before.Generations[0].Result) || string(after.Body) != string(before.Body) {
		t.Errorf("status = %+v, was %+v", after, before)
	}
	w.sweepAfter(150 * time.Second) // leases began again
	w.want(half, counts{waiting: 1, processing: 1, finished: 1})
	got, err := w.submit(jobs[1], bob, "")
	if err != nil || got.Speed != 0.2 { // 46 things in 290 s, not in 150
		t.Errorf("Submit = %+v, %v", got, err)
	}
	w.deliver(w.granted(worker, 1, half)[0], bob)
	w.wantSent("AAAASSFSSF")
	if c := w.Counters(); c.Requests != 4 || c.Open != [3]int{1, 2, 0} || c.Running != [3]int{} {
		t.Errorf("Counters = %+v", c)
	}
}

// A request that ran out while the node was away is gone; one with a running lease is not.
func TestAway(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	idle, busy := w.accept(w.text(1)), w.accept(w.text(1))
	w.pass(10 * time.Minute)
	job := w.granted(worker, 1, busy)[0]
	w.pass(19 * time.Minute)
	w.crash()
	w.sweepAfter(0)
	w.gone(idle)
	w.pass(149 * time.Second)
	w.deliver(job, bob)
	w.wantSent("AAFSF")
}

// A write that fails stops the home: what it says must be true after a restart.
func TestDiskFails(t *testing.T) {
	full := errors.New("no space left on device")
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(2))
	job := w.granted(worker, 1, id)[0]
	w.store.beforeCommit = func() error { return full }
	if _, err := w.submit(job, bob, ""); !errors.Is(err, full) {
		t.Errorf("Submit = %v, want the disk's error", err)
	}
	if st, err := w.Status(context.Background(), id, false); !errors.Is(err, full) {
		t.Errorf("Status = %+v, %v, want the disk's error", st, err)
	}
	if _, err := w.Claim(context.Background(), horde.Claim{Worker: worker, Amount: 1, Want: []horde.RequestID{id}}); !errors.Is(err, full) {
		t.Errorf("Claim = %v, want the disk's error", err)
	}
	if err := w.Run(context.Background()); !errors.Is(err, full) {
		t.Errorf("Run = %v, want the disk's error", err)
	}
	w.crash()
	if got, want := countsOf(w.status(id)), (counts{waiting: 1, processing: 1}); got != want {
		t.Errorf("status = %+v, want %+v", got, want)
	}
	w.deliver(job, bob)
	w.wantSent("AS")
}

func TestClosed(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		if err := w.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if _, err := w.Accept(context.Background(), w.text(1)); !errors.Is(err, errClosed) {
		t.Errorf("Accept = %v, want errClosed", err)
	}
}

func TestFormat(t *testing.T) {
	w := newWorld(t)
	if err := w.store.enqueue(op{puts: []entry{encode(metaKey("format"), 2)}}).wait(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if h, err := Open(Config{Dir: w.dir, Self: self, Ledger: w.books, Pricer: flat{}, Matcher: w.match}); err == nil {
		t.Error("a store of another format was opened")
		h.Close()
	}
}

// Whatever record is damaged, the node starts, says so, and every request still ends.
func TestDamage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		key   func(id horde.RequestID, job horde.JobID) []byte
		check func(w *world, id horde.RequestID)
	}{
		{"request", func(id horde.RequestID, _ horde.JobID) []byte { return idKey(keyRequest, id.UUID) },
			func(w *world, id horde.RequestID) { w.gone(id) }},
		{"state", func(id horde.RequestID, _ horde.JobID) []byte { return idKey(keyState, id.UUID) },
			func(w *world, id horde.RequestID) {
				if got := countsOf(w.status(id)); got != (counts{waiting: 1, processing: 1}) {
					w.t.Errorf("status = %+v", got)
				}
			}},
		{"job", jobKey, func(w *world, id horde.RequestID) {
			if got := countsOf(w.status(id)); got != (counts{waiting: 2}) {
				w.t.Errorf("status = %+v", got)
			}
		}},
		{"body", func(id horde.RequestID, _ horde.JobID) []byte { return idKey(keyBody, id.UUID) },
			func(w *world, id horde.RequestID) {
				if a := w.claim(w.books.worker(1, bob), 1, id); a.Grant != nil || len(a.Gone) != 1 {
					w.t.Errorf("Claim = %+v, want it gone", a)
				}
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.accept(w.text(2))
			job := w.granted(w.books.worker(1, bob), 1, id)[0]
			key := tt.key(id, job)
			err := w.store.db.Update(func(txn *badger.Txn) error {
				item, err := txn.Get(key)
				if err != nil {
					return err
				}
				rec, err := item.ValueCopy(nil)
				if err != nil {
					return err
				}
				rec[len(rec)/2] ^= 4
				return txn.Set(key, rec)
			})
			if err != nil {
				t.Fatal(err)
			}
			w.watch.offers = nil
			w.crash()
			tt.check(w, id)
			if w.Counters().Damaged != 1 {
				t.Errorf("Counters = %+v, want one damaged record", w.Counters())
			}
			w.sweepAfter(151 * time.Second)
			w.sweepAfter(time.Hour)
			w.gone(id)
			w.send()
			if len(w.books.holds) != 0 {
				t.Error("its kudos are still held")
			}
			w.crash()
			w.wantEmptyDisk()
		})
	}
}

// A crash between the pieces of a long value and the record they belong to leaves pieces.
func TestOrphanPieces(t *testing.T) {
	w := newWorld(t)
	pieces, _ := long(idKey(keyBody, horde.UUID{1}), horde.UUID{1}, bodyRecord{Body: make([]byte, 1<<20)})
	if err := w.store.enqueue(op{pieces: pieces}).wait(); err != nil {
		t.Fatal(err)
	}
	w.crash()
	w.wantEmptyDisk()
}
