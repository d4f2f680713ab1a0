package jobs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/dgraph-io/badger/v4"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// leaseGrace is how long a request outlives its last lease, so that the sweep ends the lease
// first.
const leaseGrace = time.Minute

// Claim hands jobs of the first wanted request that has open slots and suits the worker. The
// grant is durable before it is returned; a repeated Nonce is answered with the same grant
// until ten minutes after the lease. A zero Nonce is nobody's: it is not remembered.
//
// It returns RCWorkerNotFound if the ledger does not know the worker or its owner.
//
// A worker that is paused gets a decoy of what is not its owner's: a job that looks real,
// holds no slot and is never paid.
func (h *Home) Claim(ctx context.Context, c horde.Claim) (horde.Answer, error) {
	if c.Nonce != ([16]byte{}) {
		leave, err := h.nonces.enter(ctx, c.Nonce)
		if err != nil {
			return horde.Answer{}, err
		}
		defer leave()
		if a, ok, err := h.replay(c); ok || err != nil {
			return a, err
		}
	}
	w, err := h.candidate(c)
	if err != nil {
		return horde.Answer{}, err
	}
	var a horde.Answer
	for _, id := range c.Want[:min(len(c.Want), maxWant)] {
		grant, why, err := h.try(w, c, id)
		switch {
		case err != nil:
			return horde.Answer{}, err
		case grant != nil:
			a.Grant = grant
			return a, nil
		case why.gone:
			a.Gone = append(a.Gone, id)
		case why.reason != "":
			if a.Skipped == nil {
				a.Skipped = map[string]int{}
			}
			a.Skipped[why.reason]++
		}
	}
	return a, nil
}

func (h *Home) candidate(c horde.Claim) (Candidate, error) {
	worker, ok := h.ledger.Worker(c.Worker)
	if !ok {
		return Candidate{}, horde.Refuse(horde.RCWorkerNotFound, "Worker %s is not known here.", c.Worker)
	}
	owner, ok := h.ledger.User(worker.Owner)
	if !ok {
		return Candidate{}, horde.Refuse(horde.RCWorkerNotFound, "The owner of worker %s is not known here.", c.Worker)
	}
	return Candidate{Worker: worker, Owner: owner, Caps: c.Caps, Speed: c.Speed}, nil
}

// A skip tells why a wanted request was not granted; the zero skip has a reason that workers
// are not told.
type skip struct {
	gone   bool
	reason string
}

// try grants jobs of one request.
func (h *Home) try(w Candidate, c horde.Claim, id horde.RequestID) (*horde.Grant, skip, error) {
	r, ok := h.request(id)
	if !ok {
		return nil, skip{gone: true}, nil
	}
	r.mu.Lock()
	poppable, tricked := r.poppable(h.now()), r.tricked(w.Worker.ID)
	r.mu.Unlock()
	own := r.payer == w.Worker.Owner
	switch {
	case !poppable:
		return nil, skip{gone: true}, nil
	case tricked, w.Worker.Kind != r.kind, w.Worker.Maintenance && !own:
		return nil, skip{}, nil
	}
	payer, _ := h.ledger.User(r.payer)
	if reason := h.matcher(w, r.view(), payer); reason != "" {
		return nil, skip{reason: reason}, nil
	}
	var body bodyRecord
	if err := h.store.getLong(idKey(keyBody, id.UUID), id.UUID, &body); err != nil {
		if errors.Is(err, errDamaged) || errors.Is(err, badger.ErrKeyNotFound) {
			h.count.damaged.Add(1)
			h.log.Error("request without a readable body", "request", id, "err", err)
			return nil, skip{gone: true}, nil
		}
		return nil, skip{}, fmt.Errorf("read request: %w", err)
	}
	if blacklisted(body.Search, c.Caps.Blacklist) {
		return nil, skip{reason: "blacklist"}, nil
	}
	grant, err := h.grant(r, w, c, w.Worker.Paused && !own && r.kind != horde.KindAlchemy)
	if err != nil || grant == nil {
		return nil, skip{gone: r.kind != horde.KindAlchemy}, err // the forms that are left may be for others
	}
	grant.Body = body.Body
	return grant, skip{}, nil
}

// poppable tells whether r has something to hand out. r.mu is held.
func (r *request) poppable(now time.Time) bool {
	return r.open > 0 && !r.deleted && !now.After(r.expiry)
}

// blacklisted tells whether one of the words is in the prompt; both are lower case.
func blacklisted(prompt string, words []string) bool {
	return prompt != "" && slices.ContainsFunc(words, func(w string) bool {
		return w != "" && strings.Contains(prompt, w)
	})
}

// grant leases slots of r and waits until that is durable. It returns nil if r was emptied in
// between, or has no open form that the worker does. The Body is left to the caller.
func (h *Home) grant(r *request, w Candidate, c horde.Claim, fake bool) (*horde.Grant, error) {
	model, err := "", error(nil)
	if r.kind != horde.KindAlchemy {
		if model, err = h.pick(r.shape.Models, c.Caps.Models); err != nil {
			return nil, err
		}
	}
	ids := make([]horde.JobID, 1)
	if !fake {
		ids = make([]horde.JobID, batchSize(r, c))
	}
	for i := range ids {
		if ids[i], err = horde.NewJobID(h.tag, h.rand); err != nil {
			return nil, fmt.Errorf("make job id: %w", err)
		}
	}
	ttl := int(r.ttl)
	slow := r.kind == horde.KindImage && c.Caps.ExtraSlow
	if slow {
		ttl *= 3
	}
	now := h.now()

	r.mu.Lock()
	if !r.poppable(now) {
		r.mu.Unlock()
		return nil, nil
	}
	slots := r.fits(len(ids), c.Caps.Models)
	if len(slots) == 0 {
		r.mu.Unlock()
		return nil, nil
	}
	ids = ids[:len(slots)]
	g := &horde.Grant{Request: r.id, Kind: r.kind, Jobs: ids, Model: model, TTL: ttl, Remaining: int(r.open), Fake: fake}
	g.Terms = &horde.Terms{Quote: r.quote.Value(), Things: r.things, Workflow: r.shape.Workflow, HiresFix: r.shape.HiresFix}
	var o op
	if r.kind == horde.KindAlchemy {
		g.Slots = slots
	}
	for i, id := range ids {
		if r.kind == horde.KindAlchemy {
			model = r.forms[slots[i]].Name
			g.Terms.Forms = append(g.Terms.Forms, r.forms[slots[i]])
		}
		j := &job{
			id: id, r: r, worker: w.Worker.ID, owner: w.Worker.Owner,
			name: unique.Make(w.Worker.Name), model: unique.Make(model), bridge: unique.Make(c.Caps.BridgeAgent),
			start: now, until: now.Add(seconds(ttl)), ttl: ttl, rate: rateOf(r.kind, c.Speed), fake: fake,
		}
		if fake {
			r.jobs = append(r.jobs, j)
		} else {
			r.take(j, slots[i])
			h.copyJob(r, j)
		}
		o.puts = append(o.puts, encode(jobKey(r.id, id), j.record()))
		h.mu.Lock()
		h.jobs[id] = j
		h.mu.Unlock()
	}
	if c.Nonce != ([16]byte{}) {
		keep := seconds(ttl) + nonceKept
		e := encode(nonceKey(c.Nonce), nonceRecord{Worker: w.Worker.ID, Grant: *g, Until: now.Add(keep).UnixNano()})
		e.ttl = keep
		o.puts = append(o.puts, e)
	}
	var saved *batch
	var offer horde.Offer
	if fake {
		saved = h.store.enqueue(o)
		r.last = saved
		h.timers.set(r, r.next())
		h.count.decoys.Add(1)
	} else {
		if slow {
			r.extend(now.Add(expireAfterSlow))
		}
		r.extend(now.Add(max(expireAfter, seconds(ttl)+leaseGrace)))
		saved, offer = h.save(r, o, now)
		h.count.granted.Add(int64(len(ids)))
	}
	r.mu.Unlock()

	if !fake {
		h.tell(offer) // before it is durable: others shall not claim what is taken
	}
	if err := saved.wait(); err != nil {
		return nil, fmt.Errorf("store grant: %w", err)
	}
	return g, nil
}

// batchSize is the most slots of r that the worker should get at once.
func batchSize(r *request, c horde.Claim) int {
	n := max(1, min(c.Amount, maxAmount))
	if r.noBatch {
		return 1
	}
	if r.kind == horde.KindImage {
		n = pricing.SafeBatch(pricing.Image{
			Width: int(r.shape.Pixels), Height: 1, // only the product counts
			PostProcessing: r.shape.PostProcessing, Transparent: r.shape.Transparent,
		}, c.Caps.MaxPixels, n)
	}
	return max(1, n)
}

// pick chooses one of the models that both name, or one of the worker's if there is none, or
// "" if it names none.
func (h *Home) pick(wanted, served []string) (string, error) {
	var both []string
	for _, m := range served {
		if slices.Contains(wanted, m) {
			both = append(both, m)
		}
	}
	if len(both) == 0 {
		both = served
	}
	if len(both) < 2 {
		return strings.Join(both, ""), nil
	}
	var b [8]byte
	if _, err := io.ReadFull(h.rand, b[:]); err != nil {
		return "", fmt.Errorf("choose a model: %w", err)
	}
	return both[binary.BigEndian.Uint64(b[:])%uint64(len(both))], nil
}

// replay returns what the claim was answered before.
func (h *Home) replay(c horde.Claim) (horde.Answer, bool, error) {
	var rec nonceRecord
	err := h.store.get(nonceKey(c.Nonce), &rec)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return horde.Answer{}, false, nil
	case err != nil:
		return horde.Answer{}, false, fmt.Errorf("read nonce: %w", err)
	case rec.Worker != c.Worker:
		return horde.Answer{}, false, horde.Refuse(horde.RCBadRequest, "The nonce belongs to another claim.")
	case h.now().UnixNano() > rec.Until:
		return horde.Answer{}, false, nil
	}
	g := rec.Grant
	var body bodyRecord
	err = h.store.getLong(idKey(keyBody, g.Request.UUID), g.Request.UUID, &body)
	if errors.Is(err, badger.ErrKeyNotFound) { // the request has expired
		return horde.Answer{Gone: []horde.RequestID{g.Request}}, true, nil
	}
	if err != nil {
		return horde.Answer{}, false, fmt.Errorf("read request: %w", err)
	}
	g.Body = body.Body
	return horde.Answer{Grant: &g}, true, nil
}

// nonces keeps two claims with the same nonce from being answered at the same time.
type nonces struct {
	mu   sync.Mutex
	busy map[[16]byte]chan struct{}
}

// enter waits for its turn with a nonce.
func (x *nonces) enter(ctx context.Context, n [16]byte) (leave func(), err error) {
	for {
		x.mu.Lock()
		other, taken := x.busy[n]
		if !taken {
			mine := make(chan struct{})
			x.busy[n] = mine
			x.mu.Unlock()
			return func() {
				x.mu.Lock()
				defer x.mu.Unlock()
				delete(x.busy, n)
				close(mine)
			}, nil
		}
		x.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
