package jobs

import "testing"

// A slot that is being done again at the successor, while its home has the result, is done: the
// result that is there counts, and whoever does it again is not blamed.
func TestMergeOfAResultForASlotThatIsDoneAgain(t *testing.T) {
	w := newWorld(t)
	worker, other := w.books.worker(1, bob), w.books.worker(2, bob)
	id := w.accept(w.text(1))
	w.wantSent("A")
	before := w.itemsOf(id)
	job := w.granted(worker, 1, id)[0]
	s := w.successor()
	s.adopts(w, id, before) // a copy from before the job was handed out
	again := s.granted(other, 1, id)[0]
	s.want(id, counts{processing: 1})

	w.deliver(job, bob)
	s.adopts(w, id, w.itemsOf(id))
	s.want(id, counts{finished: 1, done: true})
	if st := s.status(id); len(st.Generations) != 1 || st.Generations[0].ID != job {
		t.Errorf("generations = %+v, want that of %s and not of %s", st.Generations, job, again)
	}
	s.wantSent("SF") // nobody's Abort
	s.crash()
	s.want(id, counts{finished: 1, done: true})
}
