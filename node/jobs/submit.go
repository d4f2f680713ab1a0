package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"hordenode/internal/horde"
)

// States of a submission and of a generation.
const (
	stateOK       = "ok"
	stateCensored = "censored"
	stateCSAM     = "csam"
	stateFaulted  = "faulted"
)

// uploaded is the result of an image job or form whose worker put the image where the pop said.
// Nothing is paid without it.
const uploaded = "R2"

// Submit takes the result of a job, or that it failed, and has it paid: result, end of the job
// and Settlement are one transaction. A result that is late counts as long as the sweep has not
// ended the lease.
//
// Refusals, in this order: RCInvalidJobID (unknown or expired), RCWrongCredentials (By does not
// own the worker), RCBadRequest (too much of something, or no image uploaded), RCDuplicateGen (delivered before),
// RCAbortedGen (the lease ended). A submission with the Nonce of the one that was taken is no
// duplicate: it gets the same receipt, but for Things. That a job failed may be told again.
//
// The sentences hold words that workers look for (spec/clients.md row 19).
func (h *Home) Submit(ctx context.Context, s horde.Submission) (horde.Receipt, error) {
	j, ok := h.job(s.Job)
	if l := h.loading.Load(); !ok && l != nil && l.jobs { // perhaps of a request that was not read yet
		if err := h.awaitRead(ctx); err != nil {
			return horde.Receipt{}, err
		}
		j, ok = h.job(s.Job)
	}
	switch {
	case !ok:
		return horde.Receipt{}, unknownJob(s.Job)
	case s.By != j.owner:
		return horde.Receipt{}, horde.Refuse(horde.RCWrongCredentials, "This job was given to a worker of somebody else: wrong credentials.")
	case len(s.Metadata) > maxMetadata:
		return horde.Receipt{}, horde.Refuse(horde.RCBadRequest, "A generation has at most %d gen_metadata entries.", maxMetadata)
	case len(s.Result) > maxResult:
		return horde.Receipt{}, horde.Refuse(horde.RCBadRequest, "The generation is longer than %d bytes.", maxResult)
	}
	state := judge(j.r.kind, s)
	if state == stateFaulted {
		return h.giveUp(j, s)
	}
	if j.r.kind != horde.KindText && string(s.Result) == uploaded && h.blobs != nil && !h.blobs.Has(ctx, j.id.String()) {
		return horde.Receipt{}, horde.Refuse(horde.RCBadRequest, "No image was uploaded for this job. Please upload it before you submit.")
	}
	return h.deliver(ctx, j, s, state)
}

// judge tells what a submission is: ok, censored, csam or faulted. Images are judged by their
// metadata before their state (spec/image.md 7.2 U5), texts the other way round (spec/text.md
// 8.3).
func judge(kind horde.Kind, s horde.Submission) string {
	told := ""
	for _, m := range s.Metadata {
		switch {
		case m.Type != "censorship":
		case m.Value == stateCSAM:
			told = stateCSAM
		default:
			told = stateCensored
		}
	}
	switch {
	case kind == horde.KindImage && told != "":
		return told
	case s.State == stateFaulted:
		return stateFaulted
	case kind != horde.KindText:
		return stateOK
	case told == stateCSAM || s.State == stateCSAM:
		return stateCSAM
	case told != "" || s.State == stateCensored:
		return stateCensored
	}
	return stateOK
}

// deliver ends j with a result.
func (h *Home) deliver(ctx context.Context, j *job, s horde.Submission, state string) (horde.Receipt, error) {
	r := j.r
	censored := state != stateOK
	if state == stateCSAM && r.kind == horde.KindText {
		s.Metadata = withCSAM(s.Metadata)
	}
	result := bytes.ReplaceAll(s.Result, []byte{0}, []byte("\uFFFD"))
	owner, _ := h.ledger.User(j.owner)
	price := h.pricer.Price(r.view(), j.model.Value(), j.bridge.Value(), owner.Is(horde.RoleTrusted), result, censored)
	now := h.now()
	receipt := horde.Receipt{Reward: price.Reward, Worker: j.worker, Kind: r.kind, Speed: speed(price.Things, now.Sub(j.start))}
	if r.kind == horde.KindAlchemy {
		receipt.Speed = secondsPerForm(now.Sub(j.start))
	}

	var o op
	var main entry
	var g horde.Generation
	var paid horde.Settlement
	suspect := false
	if !j.fake {
		receipt.Things = price.Things
		g = horde.Generation{
			ID: j.id, Worker: j.worker, WorkerName: j.name.Value(), Model: j.model.Value(),
			Seed: s.Seed, Result: result, Censored: censored, State: state, Metadata: s.Metadata,
			Kudos: price.Reward,
		}
		o.pieces, main = long(idKey(keyResult, j.id.UUID), j.id.UUID, g)
		o.puts = append(o.puts, main)
		o.work = []work{{r.kind, j.model.Value(), r.things, now}}
		paid = horde.Settlement{
			Request: r.id, Slot: int(j.slot), Job: j.id, Worker: j.worker,
			Debit: price.Debit, Credit: price.Credit, Things: r.things, Censored: censored,
		}
		o.out = append(o.out, h.ledger.EncodeSettlement(paid))
		if !owner.Is(horde.RoleTrusted) {
			for range h.pricer.TooFast(r.view(), j.model.Value(), receipt.Speed) {
				o.out = append(o.out, h.ledger.EncodeTooFast(j.worker))
				suspect = true
			}
		}
	}

	r.mu.Lock()
	if r.deleted || j.state != jobRunning && !r.revive(j) {
		return h.tooLate(j, s) // unlocks
	}
	rec := j.record()
	rec.State, rec.Nonce, rec.Reward, rec.Speed = jobDone, s.Nonce, receipt.Reward, receipt.Speed
	o.puts = append(o.puts, encode(jobKey(r.id, j.id), rec))
	if j.fake {
		return receipt, h.endDecoy(j, jobDone, o) // unlocks
	}
	r.deliver(j)
	j.chunks = uint16(len(o.pieces))
	r.consumed += price.Debit
	r.extend(now.Add(expireAfter))
	saved, offer := h.save(r, o, now)
	r.mu.Unlock()
	h.tell(offer)
	if err := saved.wait(); err != nil {
		return horde.Receipt{}, fmt.Errorf("store result: %w", err)
	}
	h.count.delivered.Add(1)
	h.copyResult(r, rec, g, paid)
	if suspect && h.flush != nil { // it may have paused the worker, and blocked its owner's kudos
		h.flush(ctx, h.store.out.last())
	}
	if r.notify && h.ear != nil {
		h.notify(r, g)
	}
	return receipt, nil
}

// giveUp ends j because its worker says so.
func (h *Home) giveUp(j *job, s horde.Submission) (horde.Receipt, error) {
	r := j.r
	now := h.now()
	receipt := horde.Receipt{Worker: j.worker, Kind: r.kind}
	r.mu.Lock()
	if r.deleted || j.state != jobRunning {
		return h.tooLate(j, s) // unlocks
	}
	if j.fake {
		rec := j.record()
		rec.State = jobFaulted
		return receipt, h.endDecoy(j, jobFaulted, op{puts: []entry{encode(jobKey(r.id, j.id), rec)}}) // unlocks
	}
	saved, offer := h.abort(r, []*job{j}, now, work{r.kind, j.model.Value(), r.things, now})
	r.mu.Unlock()
	h.tell(offer)
	if err := saved.wait(); err != nil {
		return horde.Receipt{}, fmt.Errorf("store fault: %w", err)
	}
	return receipt, nil
}

// abort ends running jobs of r without results; done is what counts as finished by it. r.mu
// is held.
func (h *Home) abort(r *request, stale []*job, now time.Time, done ...work) (*batch, horde.Offer) {
	o := op{work: done}
	was := r.faulted
	for _, j := range stale {
		if j.excused {
			r.lapse(j)
			h.copyJob(r, j)
			o.puts = append(o.puts, encode(jobKey(r.id, j.id), j.record()))
			continue
		}
		r.fault(j)
		h.copyJob(r, j)
		o.puts = append(o.puts, encode(jobKey(r.id, j.id), j.record()))
		o.out = append(o.out, h.ledger.EncodeAbort(horde.Abort{Request: r.id, Job: j.id, Worker: j.worker}))
	}
	h.count.aborted.Add(int64(len(stale)))
	if r.faulted && !was {
		h.count.faulted.Add(1)
	}
	return h.save(r, o, now)
}

// endDecoy ends a job that never was one. r.mu is held, and released.
func (h *Home) endDecoy(j *job, state jobState, o op) error {
	j.state = state
	saved := h.store.enqueue(o)
	j.r.last = saved
	j.r.mu.Unlock()
	if err := saved.wait(); err != nil {
		return fmt.Errorf("store result: %w", err)
	}
	return nil
}

// tooLate answers for a job that has ended, once its end is durable. r.mu is held, and
// released.
func (h *Home) tooLate(j *job, s horde.Submission) (horde.Receipt, error) {
	r := j.r
	deleted, state, saved := r.deleted, j.state, r.last
	r.mu.Unlock()
	if err := saved.wait(); err != nil {
		return horde.Receipt{}, fmt.Errorf("store result: %w", err)
	}
	switch {
	case deleted:
		return horde.Receipt{}, unknownJob(j.id)
	case state == jobFaulted && judge(r.kind, s) == stateFaulted:
		return horde.Receipt{Worker: j.worker, Kind: r.kind}, nil
	case state == jobFaulted && r.kind != horde.KindAlchemy:
		return horde.Receipt{}, horde.Refuse(horde.RCAbortedGen, "Job %s took too long or was given up, and was aborted. Please check your worker speed.", j.id)
	}
	if !s.Nonce.IsZero() {
		var rec jobRecord
		err := h.store.get(jobKey(r.id, j.id), &rec)
		switch {
		case errors.Is(err, badger.ErrKeyNotFound):
			return horde.Receipt{}, unknownJob(j.id) // expired in between
		case err != nil:
			return horde.Receipt{}, fmt.Errorf("read job: %w", err)
		case rec.Nonce == s.Nonce:
			return horde.Receipt{Reward: rec.Reward, Worker: j.worker, Kind: r.kind, Speed: rec.Speed}, nil
		}
	}
	return horde.Receipt{}, horde.Refuse(horde.RCDuplicateGen, "A result for job %s was already submitted.", j.id)
}

func unknownJob(id horde.JobID) error {
	return horde.Refuse(horde.RCInvalidJobID, "Processing Job with ID %s does not exist.", id)
}

// withCSAM adds the entry that tells of csam, if it is not there.
func withCSAM(m []horde.Metadata) []horde.Metadata {
	told := slices.ContainsFunc(m, func(e horde.Metadata) bool { return e.Type == "censorship" && e.Value == stateCSAM })
	if told {
		return m
	}
	return append(slices.Clone(m), horde.Metadata{Type: "censorship", Value: stateCSAM})
}

// secondsPerForm is what counts as an alchemist's speed; no form takes no time at all.
func secondsPerForm(took time.Duration) float64 {
	return max(math.Round(took.Seconds()*1000)/1000, 0.001)
}

// speed returns things per second to one decimal, 1 if no time passed (spec/text.md 8.6).
func speed(things int64, took time.Duration) float64 {
	if took <= 0 {
		return 1
	}
	return math.Round(float64(things)/took.Seconds()*10) / 10
}
