package consensus

import (
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// A server whose vote is taken away learns of it last. raft sends the change to all at once
// (v1.8.0), and acts on it before it is committed: the demoted server may have it when the voters
// that remain do not. If the leader dies then, the demoted server stands in no election, and
// votes for nobody whose log is shorter than its own; the others miss its vote by the
// configuration that they know. The group waits for the dead leader to come back. The simulation
// found it.
//
//	Demote(b) ─► withhold(b) ─► change: a, c ─► committed by a and c ─► pass ─► b
//	                                └► a dies: b has the old configuration, and so has c or it does
//	                                   not matter: one of the two is elected
//
// The change needs no answer of that server, so to raft this is a slow network.
type withheld struct {
	mu sync.Mutex // guards by
	by map[raft.ServerID]*holdup
}

// A holdup keeps entries of one term from a server.
type holdup struct {
	term uint64
	over chan struct{} // closed when the change is decided or the leadership is lost
	lost bool          // it was lost: nothing of that term is sent any more; set before over is closed
}

// errWithheld ends a transfer of entries by a leader that is none any more.
var errWithheld = errors.New("the server must not have these entries before the other voters")

// withhold keeps the entries of a term from a server until the returned function says what has
// become of the change: it is committed, or was never made, or else it may be in this node's log only.
func (w *withheld) withhold(id raft.ServerID, term uint64) (end func(decided bool)) {
	h := &holdup{term: term, over: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[raft.ServerID]*holdup{}
	}
	w.by[id] = h
	return func(decided bool) {
		h.lost = !decided
		close(h.over)
		if decided {
			w.forget(id, h)
		}
	}
}

func (w *withheld) forget(id raft.ServerID, h *holdup) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by[id] == h {
		delete(w.by, id)
	}
}

// pass waits until a request may go to a server. Heartbeats always may.
func (w *withheld) pass(id raft.ServerID, req *raft.AppendEntriesRequest) error {
	if req == nil || len(req.Entries) == 0 {
		return nil
	}
	w.mu.Lock()
	h := w.by[id]
	w.mu.Unlock()
	switch {
	case h == nil:
		return nil
	case req.Term > h.term: // of another leadership
		w.forget(id, h)
		return nil
	}
	<-h.over
	if h.lost {
		return errWithheld
	}
	return nil
}

// AppendEntries sends entries to a server when it may have them.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := t.withheld.pass(id, req); err != nil {
		return err
	}
	return t.NetworkTransport.AppendEntries(id, target, req, resp)
}

// AppendEntries sends entries when the server may have them.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if err := p.pass(req); err != nil {
		return nil, err
	}
	return p.AppendPipeline.AppendEntries(req, resp)
}
