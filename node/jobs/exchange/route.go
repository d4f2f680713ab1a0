package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"hordenode/internal/horde"
)

const (
	callBudget   = 3 * time.Second
	blobBudget   = 15 * time.Second
	activeBudget = 300 * time.Millisecond
	uuidLen      = 36
)

// NewRequestID makes an id that this node is the home of.
func (e *Exchange) NewRequestID() (horde.RequestID, error) {
	id, err := horde.NewRequestID(e.tag, e.random)
	if err != nil {
		return id, fmt.Errorf("make request id: %w", err)
	}
	return id, nil
}

// Accept stores a request at this node, durably, and opens it to the workers of all nodes.
// Possible is false only if no worker that is online can serve it, and this node knows the
// workers of all others that it is connected to.
func (e *Exchange) Accept(ctx context.Context, r horde.Request) (horde.Acceptance, error) {
	if err := e.accepts(&r); err != nil {
		return horde.Acceptance{}, err
	}
	if e.superseded() {
		return horde.Acceptance{}, errSuperseded
	}
	a, err := e.home.Accept(ctx, r)
	if err != nil {
		return a, err
	}
	a.Possible = e.possible(&r.Shape, r.Payer, r.Quote.Job, e.now())
	return a, nil
}

// Status returns the state of a request, wherever its home is: horde.RCRequestNotFound if
// it is nowhere, horde.RCUnavailable if its home cannot be asked for the moment.
func (e *Exchange) Status(ctx context.Context, id horde.RequestID, generations bool) (horde.Status, error) {
	return e.status(ctx, id, jobRequest{Op: opStatus, Request: id, Generations: generations})
}

// Cancel hands out no more jobs of a request and returns the state before. Errors as for
// Status; a home that cannot be asked hears of it later.
func (e *Exchange) Cancel(ctx context.Context, id horde.RequestID) (horde.Status, error) {
	return e.status(ctx, id, jobRequest{Op: opCancel, Request: id})
}

func (e *Exchange) status(ctx context.Context, id horde.RequestID, req jobRequest) (horde.Status, error) {
	return askKeepers(ctx, e, id.UUID, horde.RCRequestNotFound, func(home horde.NodeID) (horde.Status, error) {
		if home == e.self {
			return e.ownStatus(ctx, req)
		}
		return e.statusAt(ctx, home, id, req)
	})
}

func (e *Exchange) statusAt(ctx context.Context, home horde.NodeID, id horde.RequestID, req jobRequest) (horde.Status, error) {
	req.Watch = req.Op == opStatus && e.waits.watched(id)
	res, err := e.callJob(ctx, home, req)
	if req.Op == opCancel && errors.Is(err, horde.RCUnavailable) {
		return e.keepCancel(ctx, home, id, err)
	}
	if err != nil {
		return horde.Status{}, err
	}
	if res.Status == nil {
		return horde.Status{}, unavailable(homeAway, errInvalid)
	}
	return *res.Status, nil
}

// ownStatus reads or cancels a request of this home. What the queue says is looked up
// before a cancellation takes the request out of it.
func (e *Exchange) ownStatus(ctx context.Context, req jobRequest) (st horde.Status, err error) {
	at := e.outlook(req.Request, e.now())
	st, err = known(e, req.Request.UUID, horde.RCRequestNotFound, func() (horde.Status, error) {
		if req.Op == opCancel {
			return e.home.Cancel(ctx, req.Request)
		}
		return e.home.Status(ctx, req.Request, req.Generations)
	})
	if err != nil {
		return st, err
	}
	at.decorate(&st)
	return st, nil
}

// Submit delivers a job to its home: horde.RCInvalidJobID if there is no such job anywhere,
// horde.RCUnavailable if its home cannot be asked for the moment and the result could not be
// kept for it either.
func (e *Exchange) Submit(ctx context.Context, s horde.Submission) (horde.Receipt, error) {
	if s.Nonce.IsZero() {
		if _, err := io.ReadFull(e.random, s.Nonce[:]); err != nil {
			return horde.Receipt{}, fmt.Errorf("make nonce: %w", err)
		}
	}
	r, err := askKeepers(ctx, e, s.Job.UUID, horde.RCInvalidJobID, func(home horde.NodeID) (horde.Receipt, error) {
		if home == e.self {
			return e.ownSubmit(ctx, s)
		}
		r, err := e.submitTo(ctx, home, s)
		if errors.Is(err, horde.RCUnavailable) {
			return e.keepResult(ctx, home, s, err) // forward.go
		}
		return r, err
	})
	if err != nil {
		return horde.Receipt{}, err
	}
	e.live.sample(r.Worker, r.Speed)
	return r, nil
}

func (e *Exchange) submitTo(ctx context.Context, home horde.NodeID, s horde.Submission) (horde.Receipt, error) {
	if e.queued(s.Job.UUID) {
		return horde.Receipt{}, errQueued
	}
	res, err := e.callJob(ctx, home, jobRequest{Op: opSubmit, Submission: &s})
	if err != nil {
		return horde.Receipt{}, err
	}
	if res.Receipt == nil {
		return horde.Receipt{}, unavailable(homeAway, errInvalid)
	}
	return *res.Receipt, nil
}

// ownSubmit delivers a job of this home and counts its work.
func (e *Exchange) ownSubmit(ctx context.Context, s horde.Submission) (horde.Receipt, error) {
	r, err := known(e, s.Job.UUID, horde.RCInvalidJobID, func() (horde.Receipt, error) { return e.home.Submit(ctx, s) })
	if !errors.Is(err, horde.RCUnavailable) {
		e.budgets.done(s.Job, s.State == "faulted")
	}
	if err == nil && int(r.Kind) < kinds && r.Things > 0 {
		e.delivered.add(int(r.Kind), r.Things, e.now())
	}
	return r, err
}

// ActiveRequests returns the ids of a user's requests at all nodes that answer quickly.
func (e *Exchange) ActiveRequests(ctx context.Context, user horde.UserID) map[horde.Kind][]horde.RequestID {
	ctx, cancel := context.WithTimeout(ctx, activeBudget)
	defer cancel()
	var (
		mu  sync.Mutex
		all = make(map[horde.Kind][]horde.RequestID)
		wg  sync.WaitGroup
	)
	add := func(ids map[horde.Kind][]horde.RequestID) {
		mu.Lock()
		defer mu.Unlock()
		for kind, list := range ids {
			all[kind] = append(all[kind], list...)
		}
	}
	for _, m := range e.ledger.Members() {
		if !m.Active || m.ID == e.self {
			continue
		}
		wg.Go(func() {
			res, err := e.callJob(ctx, m.ID, jobRequest{Op: opActive, User: user})
			if err != nil {
				e.log.DebugContext(ctx, "active requests not known", "node", m.ID, "err", err)
				return
			}
			add(res.Active)
		})
	}
	add(e.home.Active(user))
	wg.Wait()
	return all
}

// PutBlob stores a blob at the home of the request or job that its name begins with.
func (e *Exchange) PutBlob(ctx context.Context, name string, data []byte) error {
	home, err := e.blobHome(ctx, name)
	if err != nil {
		return err
	}
	if home == e.self {
		return e.blobs.Put(ctx, name, data)
	}
	_, err = e.callBlob(ctx, home, blobRequest{Name: name, Put: true, Data: data})
	if errors.Is(err, horde.RCUnavailable) {
		return e.keepBlob(ctx, home, name, data, err)
	}
	return err
}

// Blob reads a blob from the home of the request or job that its name begins with.
func (e *Exchange) Blob(ctx context.Context, name string) ([]byte, error) {
	id, err := blobID(name)
	if err != nil {
		return nil, err
	}
	return askKeepers(ctx, e, id, horde.RCRequestNotFound, func(home horde.NodeID) ([]byte, error) {
		if home == e.self {
			return known(e, id, horde.RCRequestNotFound, func() ([]byte, error) { return e.blobs.Get(ctx, name) })
		}
		res, err := e.callBlob(ctx, home, blobRequest{Name: name})
		if err != nil {
			return nil, err
		}
		return res.Data, nil
	})
}

// blobHome returns where a blob is to be stored. A home that was away may have given its job
// to its successor, which is the second: results of old jobs are rare, and go to the first.
func (e *Exchange) blobHome(ctx context.Context, name string) (horde.NodeID, error) {
	id, err := blobID(name)
	if err != nil {
		return "", err
	}
	list, err := e.keepersOf(ctx, id, horde.RCRequestNotFound)
	if err != nil {
		return "", err
	}
	return list[0], nil
}

func blobID(name string) (horde.UUID, error) {
	id, err := horde.ParseUUID(name[:min(len(name), uuidLen)])
	if err != nil {
		return id, horde.Refuse(horde.RCRequestNotFound, "There is no such file.")
	}
	return id, nil
}

const homeAway = "The node that keeps this request cannot be reached for the moment. Please try again."

func unavailable(msg string, err error) *horde.Error {
	return &horde.Error{RC: horde.RCUnavailable, Msg: msg, Err: err}
}

// call sends a request to a home and decodes its response. All failures are
// horde.RCUnavailable: what exists there is not gone because it cannot be asked.
func call[T any](ctx context.Context, e *Exchange, home horde.NodeID, proto string, budget time.Duration, req any) (*T, error) {
	data, err := encode(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	answer, err := e.network.Call(ctx, home, proto, data)
	if err != nil {
		return nil, unavailable(homeAway, err)
	}
	res, err := decode[T](answer)
	if err != nil {
		return nil, unavailable(homeAway, err)
	}
	return res, nil
}

func (e *Exchange) callJob(ctx context.Context, home horde.NodeID, req jobRequest) (*jobResponse, error) {
	res, err := call[jobResponse](ctx, e, home, ProtoJob, callBudget, &req)
	if err != nil {
		return nil, err
	}
	return res, res.Refusal.err()
}

func (e *Exchange) callBlob(ctx context.Context, home horde.NodeID, req blobRequest) (*blobResponse, error) {
	res, err := call[blobResponse](ctx, e, home, ProtoBlob, blobBudget, &req)
	if err != nil {
		return nil, err
	}
	return res, res.Refusal.err()
}

// HandleJob serves /horde/job/1: another node asks about a request or job of this home.
func (e *Exchange) HandleJob(ctx context.Context, from horde.NodeID, req []byte) ([]byte, error) {
	r, err := decode[jobRequest](req)
	if err != nil {
		return nil, err
	}
	res, err := e.serveJob(ctx, from, r)
	if errors.Is(err, errInvalid) {
		return nil, fmt.Errorf("job request from %s: %w", from, err)
	}
	if err != nil {
		refusal, err := refusalOf(err)
		if err != nil {
			return nil, err
		}
		res = &jobResponse{Refusal: refusal}
	}
	return encode(res)
}

func (e *Exchange) serveJob(ctx context.Context, from horde.NodeID, r *jobRequest) (*jobResponse, error) {
	switch r.Op {
	case opStatus, opCancel:
		if r.Watch {
			e.audience.sit(from, r.Request, e.now()) // before it is read
		}
		st, err := e.ownStatus(ctx, *r)
		return &jobResponse{Status: &st}, err
	case opSubmit:
		if r.Submission == nil {
			return nil, errInvalid
		}
		receipt, err := e.ownSubmit(ctx, *r.Submission)
		return &jobResponse{Receipt: &receipt}, err
	case opActive:
		return &jobResponse{Active: e.home.Active(r.User)}, nil
	case opOffersOf:
		offers, slots := e.ownOffersOf(r.User, r.Kind, r.Models...)
		return &jobResponse{Offers: offers, Slots: slots}, nil
	case opWorkers:
		return e.hearWorkers(from, r.Workers)
	case opChanged:
		return e.hearChanged(from, r.Changed)
	case opTotals:
		t := e.totals.here()
		return &jobResponse{Totals: &t}, nil
	}
	return nil, errInvalid
}

// HandleBlob serves /horde/blob/1: another node stores or reads a blob of this home.
func (e *Exchange) HandleBlob(ctx context.Context, from horde.NodeID, req []byte) ([]byte, error) {
	r, err := decode[blobRequest](req)
	if err != nil {
		return nil, err
	}
	id, err := blobID(r.Name)
	if err != nil || !e.keeps(e.self, id.Home()) {
		return nil, fmt.Errorf("%w: blob of another home asked for by %s", errInvalid, from)
	}
	res := &blobResponse{}
	if r.Put {
		err = e.blobs.Put(ctx, r.Name, r.Data)
	} else {
		res.Data, err = known(e, id, horde.RCRequestNotFound, func() ([]byte, error) { return e.blobs.Get(ctx, r.Name) })
	}
	if err != nil {
		refusal, err := refusalOf(err)
		if err != nil {
			return nil, err
		}
		res = &blobResponse{Refusal: refusal}
	}
	return encode(res)
}
