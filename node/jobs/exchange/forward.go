package exchange

import (
	"context"
	"errors"
	"math"
	"time"

	"hordenode/internal/horde"
)

// Relay keeps what homes that cannot be reached shall get later, and what was granted
// through this node. *relay.Store implements it.
type Relay interface {
	// Keep makes an item about a request or job durable; it is handed to Deliver later, after
	// those of its group that came before. what names it in its group. Items that this node
	// cannot vouch for get little room.
	Keep(home horde.HomeTag, group horde.UUID, what string, data []byte, vouched bool) error
	// Kept tells whether an item of that name waits.
	Kept(group horde.UUID, what string) bool
	// Waits tells whether any item of a group waits.
	Waits(group horde.UUID) bool
	// Note remembers a fact for a while.
	Note(id horde.UUID, fact []byte, life time.Duration)
	Fact(id horde.UUID) ([]byte, bool)
}

// Pricer tells what a delivered job is worth. *pricing.List implements it.
type Pricer interface {
	Price(r *horde.Request, model, bridgeAgent string, ownerTrusted bool, result []byte, censored bool) horde.Price
}

const (
	keptSubmit = "submit"
	keptCancel = "cancel"
	keptBlob   = "blob "

	maxKeptResult = 7 << 20 // bytes: what fits a call to the home
	maxKeptMeta   = 50
	// leaseMemory is how long after its lease a job is remembered: its worker may be late.
	leaseMemory = time.Hour
	// blindReward is what a worker is told when nothing is known of its job: it was granted
	// through another node. The true reward is settled at the home.
	blindReward = 1.0
)

// keptItem is what the relay holds for a home: one of both.
type keptItem struct {
	Job  *jobRequest  `cbor:"1,keyasint,omitempty"`
	Blob *blobRequest `cbor:"2,keyasint,omitempty"`
}

// A leaseFact is what this node remembers of a remote job that a worker popped here.
type leaseFact struct {
	Worker  horde.WorkerID `cbor:"1,keyasint"`
	Owner   horde.UserID   `cbor:"2,keyasint,omitempty"`
	Kind    horde.Kind     `cbor:"3,keyasint,omitempty"`
	Model   string         `cbor:"4,keyasint,omitempty"`
	Bridge  string         `cbor:"5,keyasint,omitempty"`
	Granted int64          `cbor:"6,keyasint"` // Unix milliseconds
	Terms   *horde.Terms   `cbor:"7,keyasint,omitempty"`
}

// remember notes what a remote home granted a worker here, so that the worker gets its
// answer, and its speed is counted, even if the home cannot be reached when it is done.
func (s *search) remember(g *horde.Grant) {
	e := s.e
	if e.relay == nil || g == nil || g.Jobs[0].Home() == e.tag {
		return
	}
	lease := leaseFact{
		Worker: s.w.ID, Owner: s.w.Owner, Kind: g.Kind, Model: g.Model, Bridge: s.w.Profile.Caps().BridgeAgent,
		Granted: e.now().UnixMilli(), Terms: g.Terms,
	}
	for i, id := range g.Jobs {
		if g.Terms != nil && i < len(g.Terms.Forms) {
			own := *g.Terms
			own.Forms = own.Forms[i : i+1]
			lease.Terms, lease.Model = &own, own.Forms[0].Name
		}
		fact, err := encode(&lease)
		if err != nil {
			e.log.Warn("grant not remembered", "request", g.Request, "err", err)
			return
		}
		e.relay.Note(id.UUID, fact, time.Duration(g.TTL)*time.Second+leaseMemory)
	}
}

func (e *Exchange) leaseOf(id horde.UUID) (*leaseFact, bool) {
	raw, ok := e.relay.Fact(id)
	if !ok {
		return nil, false
	}
	f, err := decode[leaseFact](raw)
	return f, err == nil
}

// keepResult takes a result whose home cannot be reached, which is why err is given; it is
// delivered later. What a home would refuse for its form or its sender is refused here too.
// The receipt is this node's own reckoning; what is paid is the home's.
func (e *Exchange) keepResult(ctx context.Context, home horde.NodeID, s horde.Submission, away error) (horde.Receipt, error) {
	if e.relay == nil {
		return horde.Receipt{}, away
	}
	lease, known := e.leaseOf(s.Job.UUID)
	switch {
	case known && lease.Owner != s.By:
		return horde.Receipt{}, horde.Refuse(horde.RCWrongCredentials, "This job was given to a worker of somebody else: wrong credentials.")
	case !known && !e.live.owns(s.By):
		return horde.Receipt{}, away // nobody who works here: nothing says that there is such a job
	case e.relay.Kept(s.Job.UUID, keptSubmit):
		return horde.Receipt{}, horde.Refuse(horde.RCDuplicateGen, "A result for job %s was already submitted.", s.Job)
	case len(s.Metadata) > maxKeptMeta:
		return horde.Receipt{}, horde.Refuse(horde.RCBadRequest, "A generation has at most %d gen_metadata entries.", maxKeptMeta)
	case len(s.Result) > maxKeptResult:
		return horde.Receipt{}, away
	}
	item := keptItem{Job: &jobRequest{Op: opSubmit, Submission: &s}}
	if err := e.keep(s.Job.UUID, keptSubmit, item, known); err != nil {
		return horde.Receipt{}, unavailable(homeAway, errors.Join(err, away))
	}
	e.log.InfoContext(ctx, "result kept for its home", "job", s.Job, "home", home, "err", away)
	if !known {
		return horde.Receipt{Reward: blindReward}, nil
	}
	return e.reckon(lease, &s), nil
}

// queued tells whether something that concerns a job waits for its home already, so that
// what comes now must wait behind it: an image was kept, and its result follows.
func (e *Exchange) queued(id horde.UUID) bool { return e.relay != nil && e.relay.Waits(id) }

var errQueued = unavailable(homeAway, errors.New("something of this job waits for its home"))

// keepCancel takes a cancellation whose home cannot be reached. The state that the client
// gets is what the home last told of the request; if it told nothing lately, the client is
// told to ask again, and the request is cancelled all the same.
func (e *Exchange) keepCancel(ctx context.Context, home horde.NodeID, id horde.RequestID, away error) (horde.Status, error) {
	if e.relay == nil {
		return horde.Status{}, away
	}
	st, known := e.lastSeen(id)
	if !e.relay.Kept(id.UUID, keptCancel) {
		if err := e.keep(id.UUID, keptCancel, keptItem{Job: &jobRequest{Op: opCancel, Request: id}}, known); err != nil {
			return horde.Status{}, unavailable(homeAway, errors.Join(err, away))
		}
		e.log.InfoContext(ctx, "cancellation kept for its home", "request", id, "home", home, "err", away)
	}
	if !known {
		return horde.Status{}, unavailable("The node that keeps this request cannot be reached for the moment. The request will be cancelled when it is back.", away)
	}
	return st, nil
}

// lastSeen is what an open request's home last told of it.
func (e *Exchange) lastSeen(id horde.RequestID) (horde.Status, bool) {
	now := e.now()
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	for _, q := range e.index.queues {
		if o, ok := q.Offer(id, now); ok {
			return horde.Status{Kind: o.Shape.Kind, Waiting: o.Open, Processing: o.Running, IsPossible: true}, true
		}
	}
	return horde.Status{}, false
}

// keepBlob takes an image whose home cannot be reached.
func (e *Exchange) keepBlob(ctx context.Context, home horde.NodeID, name string, data []byte, away error) error {
	id, err := blobID(name)
	if e.relay == nil || err != nil {
		return away
	}
	if e.relay.Kept(id, keptBlob+name) {
		return nil // a repeat of the upload
	}
	_, known := e.leaseOf(id)
	if err := e.keep(id, keptBlob+name, keptItem{Blob: &blobRequest{Name: name, Put: true, Data: data}}, known); err != nil {
		return unavailable(homeAway, errors.Join(err, away))
	}
	e.log.InfoContext(ctx, "image kept for its home", "job", id, "home", home, "bytes", len(data), "err", away)
	return nil
}

func (e *Exchange) keep(group horde.UUID, what string, item keptItem, vouched bool) error {
	data, err := encode(&item)
	if err != nil {
		return err
	}
	return e.relay.Keep(group.Home(), group, what, data, vouched)
}

// reckon is the receipt of a job that its home will price.
func (e *Exchange) reckon(f *leaseFact, s *horde.Submission) horde.Receipt {
	r := horde.Receipt{Worker: f.Worker, Kind: f.Kind}
	censored := s.State == "censored" || s.State == "csam"
	for _, m := range s.Metadata {
		censored = censored || m.Type == "censorship"
	}
	if s.State == "faulted" && !(censored && f.Kind == horde.KindImage) {
		return r
	}
	r.Reward = blindReward
	if f.Terms == nil {
		return r
	}
	owner, _ := e.ledger.User(f.Owner)
	q := horde.Request{
		Kind: f.Kind, Quote: f.Terms.Quote, Things: f.Terms.Things, Forms: f.Terms.Forms,
		Shape: horde.Shape{Kind: f.Kind, Workflow: f.Terms.Workflow, HiresFix: f.Terms.HiresFix},
	}
	if e.pricer != nil {
		r.Reward = e.pricer.Price(&q, f.Model, f.Bridge, owner.Is(horde.RoleTrusted), s.Result, censored).Reward
	}
	took := e.now().Sub(time.UnixMilli(f.Granted)).Seconds()
	if f.Kind != horde.KindAlchemy && took > 0 {
		r.Speed = math.Round(float64(f.Terms.Things)/took*10) / 10
	}
	return r
}

// Reachable tells whether a home answers now. It is asked about a request that no home has.
func (e *Exchange) Reachable(ctx context.Context, home horde.HomeTag) bool {
	to, ok := e.addressee(home)
	if !ok || to == e.self {
		return true // for Deliver, which drops what is for nobody
	}
	var nothing horde.RequestID
	copy(nothing.UUID[:], home[:])
	_, err := e.callJob(ctx, to, jobRequest{Op: opStatus, Request: nothing})
	return !errors.Is(err, horde.RCUnavailable)
}

// Deliver hands a home what this node kept for it. A refusal is final: the job went to
// somebody else meanwhile, or was delivered by another node. It is logged, and costs the
// worker nothing.
func (e *Exchange) Deliver(ctx context.Context, home horde.HomeTag, data []byte) error {
	item, err := decode[keptItem](data)
	if err != nil {
		e.log.ErrorContext(ctx, "kept item not understood, dropped", "err", err)
		return nil
	}
	to, ok := e.addressee(home)
	if !ok {
		e.log.WarnContext(ctx, "kept item dropped: its home has left the federation")
		return nil
	}
	switch {
	case item.Job != nil:
		err = e.deliverJob(ctx, item.Job)
	case item.Blob != nil:
		err = e.deliverBlob(ctx, to, *item.Blob)
	}
	if errors.Is(err, horde.RCUnavailable) {
		return err
	}
	if err != nil {
		e.log.InfoContext(ctx, "kept item refused by its home, dropped", "home", to, "err", err)
	}
	return nil
}

// owns tells whether a user has a worker that was online lately, at whichever node.
func (l *live) owns(user horde.UserID) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, x := range l.workers {
		if x.owner == user {
			return true
		}
	}
	return false
}

// addressee returns who gets what was kept for a home: the home, or who stands in for it. ok
// is false if there is nobody.
func (e *Exchange) addressee(home horde.HomeTag) (to horde.NodeID, ok bool) {
	list, _ := e.keepers(home)
	if len(list) == 0 {
		return "", false
	}
	return list[0], true
}

// deliverJob brings a kept item to who keeps the request or job. That may be this node, since it
// stands in for the home. Nobody waits: it has more time than callJob.
func (e *Exchange) deliverJob(ctx context.Context, req *jobRequest) error {
	id, missing := req.Request.UUID, horde.RCRequestNotFound
	if req.Submission != nil {
		id, missing = req.Submission.Job.UUID, horde.RCInvalidJobID
	}
	_, err := askKeepers(ctx, e, id, missing, func(to horde.NodeID) (*jobResponse, error) {
		if to == e.self {
			return e.serveJob(ctx, to, req)
		}
		res, err := call[jobResponse](ctx, e, to, ProtoJob, blobBudget, req)
		if err != nil {
			return nil, err
		}
		if err := res.Refusal.err(); err != nil {
			return nil, err
		}
		if res.Receipt != nil {
			e.log.InfoContext(ctx, "kept result delivered", "job", id, "home", to)
		}
		return res, nil
	})
	return err
}

func (e *Exchange) deliverBlob(ctx context.Context, to horde.NodeID, req blobRequest) error {
	if to == e.self {
		return e.blobs.Put(ctx, req.Name, req.Data)
	}
	_, err := e.callBlob(ctx, to, req)
	return err
}
