package node

import (
	"fmt"
	"net/http"
	"strconv"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// founder is the account in whose name the operator of a node acts on users: the federation's
// first, which is an admin.
const founder horde.UserID = 1

// controlAdmin adds the operator's commands on accounts, members and the ledger.
//
//	POST /users/{user}/{do}      rename, merge, reset-key
//	POST /workers/{worker}/move  to another account
//	POST /ledger/reverse         one command
//	GET  /ledger/proof/{user}
func (n *Node) controlAdmin(mux *http.ServeMux) {
	mux.HandleFunc("POST /users/{user}/{do}", n.controlChangeUser)
	mux.HandleFunc("POST /workers/{worker}/move", n.controlMoveWorker)
	mux.HandleFunc("POST /ledger/reverse", n.controlReverse)
	mux.HandleFunc("GET /ledger/proof/{user}", n.controlProof)
}

// A UserOrder is the body of POST /users/{user}/{do}.
type UserOrder struct {
	Into   int64  `json:"into,omitempty"` // merge: the account that stays
	Name   string `json:"name,omitempty"` // rename
	Reason string `json:"reason,omitempty"`
}

func pathUser(w http.ResponseWriter, r *http.Request) (horde.UserID, bool) {
	id, err := strconv.ParseInt(r.PathValue("user"), 10, 64)
	if err != nil {
		writeError(w, http.StatusBadRequest, "A user is named by number.")
	}
	return horde.UserID(id), err == nil
}

func (n *Node) controlChangeUser(w http.ResponseWriter, r *http.Request) {
	id, ok := pathUser(w, r)
	var q UserOrder
	if !ok || !readJSON(w, r, &q) {
		return
	}
	ctx, answer := r.Context(), map[string]any{"message": "OK"}
	var err error
	switch do := r.PathValue("do"); do {
	case "rename":
		var u horde.User
		u, err = n.ledger.UpdateUser(ctx, ledger.UserChange{Actor: founder, Target: id, Name: &q.Name, Reason: q.Reason})
		answer["alias"] = u.Alias()
	case "merge":
		var u horde.User
		u, err = n.ledger.MergeUsers(ctx, founder, id, horde.UserID(q.Into), q.Reason)
		answer["alias"], answer["kudos"] = u.Alias(), u.Kudos.Float()
	case "reset-key":
		var key horde.APIKey
		key, err = n.ledger.ResetKey(ctx, founder, id, q.Reason)
		answer["api_key"] = string(key)
	default:
		writeError(w, http.StatusNotFound, fmt.Sprintf("Users cannot be told to %s.", do))
		return
	}
	if err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// A WorkerOrder is the body of POST /workers/{worker}/move.
type WorkerOrder struct {
	To     int64  `json:"to"`
	Reason string `json:"reason,omitempty"`
}

func (n *Node) controlMoveWorker(w http.ResponseWriter, r *http.Request) {
	var q WorkerOrder
	if !readJSON(w, r, &q) {
		return
	}
	name := r.PathValue("worker")
	worker, ok := n.ledger.WorkerByName(name)
	if id, err := horde.ParseUUID(name); !ok && err == nil {
		worker, ok = n.ledger.Worker(horde.WorkerID{UUID: id})
	}
	if !ok {
		writeError(w, http.StatusNotFound, fmt.Sprintf("No worker is called %q.", name))
		return
	}
	moved, err := n.ledger.MoveWorker(r.Context(), founder, worker.ID, horde.UserID(q.To), q.Reason)
	if err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"message": "OK", "worker": moved.Name, "owner": moved.Owner})
}

// A ReverseOrder is the body of POST /ledger/reverse.
type ReverseOrder struct {
	Of     ledger.Place    `json:"of"`
	Member horde.NodeID    `json:"member"`
	Booked []ledger.Booked `json:"booked"` // what the command booked, not the opposite
	Reason string          `json:"reason,omitempty"`
}

// A ReverseAnswer says what became of it.
type ReverseAnswer struct {
	Done bool `json:"done"` // false: it was reversed before
}

func (n *Node) controlReverse(w http.ResponseWriter, r *http.Request) {
	var q ReverseOrder
	if !readJSON(w, r, &q) {
		return
	}
	if err := n.ledger.Sync(r.Context()); err != nil {
		answerError(w, err)
		return
	}
	if n.ledger.Reversed(q.Of) {
		writeJSON(w, http.StatusOK, ReverseAnswer{})
		return
	}
	err := n.ledger.Reverse(r.Context(), ledger.Reversal{Actor: founder, Of: q.Of, Member: q.Member, Booked: q.Booked, Reason: q.Reason})
	if err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, ReverseAnswer{Done: true})
}

func (n *Node) controlProof(w http.ResponseWriter, r *http.Request) {
	id, ok := pathUser(w, r)
	if !ok {
		return
	}
	proof, ok := shown{n}.Proof(id, true)
	if !ok {
		writeError(w, http.StatusNotFound, "There is no such user, or the node has only just started.")
		return
	}
	writeJSON(w, http.StatusOK, proof)
}

// measureOf reads what POST /members/{name}/{do} does about a member that misbehaves.
func measureOf(do string) (ledger.Discipline, bool) {
	for _, d := range []ledger.Discipline{ledger.Suspend, ledger.Readmit, ledger.Expel} {
		if d.String() == do {
			return d, true
		}
	}
	return 0, false
}

// controlDiscipline suspends, readmits or expels a member; the body may give a reason.
func (n *Node) controlDiscipline(w http.ResponseWriter, r *http.Request, do ledger.Discipline) {
	var q struct {
		Reason string `json:"reason"`
	}
	if r.ContentLength != 0 && !readJSON(w, r, &q) {
		return
	}
	name := r.PathValue("name")
	m, ok := n.memberNamed(name)
	if !ok && do == ledger.Readmit {
		m, ok = n.formerMember(name)
	}
	if !ok {
		writeError(w, http.StatusNotFound, fmt.Sprintf("No member is called %q.", name))
		return
	}
	if err := n.ledger.Discipline(r.Context(), m.ID, do, q.Reason); err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"message": "OK"})
}

// formerMember is the one of that name, or id, that joined last.
func (n *Node) formerMember(name string) (found horde.Member, ok bool) {
	for _, m := range n.ledger.Members() {
		if !m.Active && (m.Name == name || string(m.ID) == name) && (!ok || m.Joined.After(found.Joined)) {
			found, ok = m, true
		}
	}
	return found, ok
}
