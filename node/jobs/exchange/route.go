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
	home, err := e.homeOf(ctx, id.UUID, horde.RCRequestNotFound)
	if err != nil {
		return horde.Status{}, err
	}
	if home == e.self {
		return e.ownStatus(ctx, req)
	}
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
	if req.Op == opCancel {
		st, err = e.home.Cancel(ctx, req.Request)
	} else {
		st, err = e.home.Status(ctx, req.Request, req.Generations)
	}
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
	home, err := e.homeOf(ctx, s.Job.UUID, horde.RCInvalidJobID)
	if err != nil {
		return horde.Receipt{}, err
	}
	if s.Nonce.IsZero() {
		if _, err := io.ReadFull(e.random, s.Nonce[:]); err != nil {
			return horde.Receipt{}, fmt.Errorf("make nonce: %w", err)
		}
	}
	var r horde.Receipt
	if home == e.self {
		r, err = e.ownSubmit(ctx, s)
	} else if r, err = e.submitTo(ctx, home, s); errors.Is(err, horde.RCUnavailable) {
		r, err = e.keepResult(ctx, home, s, err) // forward.go
	}
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
	r, err := e.home.Submit(ctx, s)
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
	home, err := e.blobHome(ctx, name)
	if err != nil {
		return nil, err
	}
	if home == e.self {
		return e.blobs.Get(ctx, name)
	}
	res, err := e.callBlob(ctx, home, blobRequest{Name: name})
	if err != nil {
		return nil, err
	}
	return res.Data, nil
}

func (e *Exchange) blobHome(ctx context.Context, name string) (horde.NodeID, error) {
	id, err := blobID(name)
	if err != nil {
		return "", err
	}
	return e.homeOf(ctx, id, horde.RCRequestNotFound)
}

func blobID(name string) (horde.UUID, error) {
	id, err := horde.ParseUUID(name[:min(len(name), uuidLen)])
	if err != nil {
		return id, horde.Refuse(horde.RCRequestNotFound, "There is no such file.")
	}
	return id, nil
}

// homeOf returns the node that an id belongs to. An unknown one is confirmed against the
// newest state of the ledger before it is refused as missing.
func (e *Exchange) homeOf(ctx context.Context, id horde.UUID, missing horde.RC) (horde.NodeID, error) {
	tag := id.Home()
	if tag == e.tag {
		return e.self, nil
	}
	m, ok := e.ledger.MemberByTag(tag)
	if !ok && e.confirms.AllowN(e.now(), 1) {
		if err := e.ledger.Sync(ctx); err != nil {
			return "", unavailable("It is not known for the moment where this request is. Please try again.", err)
		}
		m, ok = e.ledger.MemberByTag(tag)
	}
	if !ok || !m.Active {
		return "", &horde.Error{RC: missing, Msg: fmt.Sprintf("There is nothing with the id %s.", id)}
	}
	return m.ID, nil
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
	res, err := e.serveJob(ctx, r)
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

func (e *Exchange) serveJob(ctx context.Context, r *jobRequest) (*jobResponse, error) {
	switch r.Op {
	case opStatus, opCancel:
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
		return &jobResponse{Offers: e.ownOffersOf(r.User, r.Kind)}, nil
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
	if err != nil || id.Home() != e.tag {
		return nil, fmt.Errorf("%w: blob of another home asked for by %s", errInvalid, from)
	}
	res := &blobResponse{}
	if r.Put {
		err = e.blobs.Put(ctx, r.Name, r.Data)
	} else {
		res.Data, err = e.blobs.Get(ctx, r.Name)
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
