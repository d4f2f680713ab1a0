package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// A patron is a line of an import: who gets how much each month, and until when.
type patron struct {
	User  string    `json:"user"`  // alias or number
	Kudos int64     `json:"kudos"` // each month, whole; 0: nothing any more
	Until time.Time `json:"until,omitzero"`
}

// maxImport bounds one import.
const maxImport = 100_000

// controlPatrons sets the monthly entitlements of an import. Nothing is changed unless every
// line can be. With replace, patrons that the import does not name get nothing any more.
func (n *Node) controlPatrons(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Patrons []patron `json:"patrons"`
		Replace bool     `json:"replace"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&q); err != nil {
		writeError(w, http.StatusBadRequest, "The body is not the JSON that was expected: "+err.Error())
		return
	}
	if err := n.syncOnce(r.Context()); err != nil {
		answerError(w, err)
		return
	}
	list, err := n.readPatrons(q.Patrons)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	ended := 0
	if q.Replace {
		named := map[horde.UserID]bool{}
		for _, p := range list {
			named[p.User] = true
		}
		for _, p := range n.ledger.Patrons() {
			if !named[p.User] {
				list = append(list, ledger.Patron{User: p.User})
				ended++
			}
		}
	}
	if err := n.ledger.SetPatrons(r.Context(), list); err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"set": len(list) - ended, "ended": ended})
}

// readPatrons finds the accounts, and says which line is wrong.
func (n *Node) readPatrons(in []patron) ([]ledger.Patron, error) {
	if len(in) > maxImport {
		return nil, fmt.Errorf("an import has %d lines at most", maxImport)
	}
	seen := map[horde.UserID]bool{}
	var list []ledger.Patron
	for i, p := range in {
		id, ok := horde.ParseAlias(p.User)
		if ok {
			_, ok = n.ledger.User(id)
		}
		switch {
		case !ok || id == horde.Anonymous:
			return nil, fmt.Errorf("entry %d: there is no account %q", i+1, p.User)
		case seen[id]:
			return nil, fmt.Errorf("entry %d: %q is there twice", i+1, p.User)
		case p.Kudos < 0 || p.Kudos > 1_000_000_000:
			return nil, fmt.Errorf("entry %d: the kudos of %q are out of range", i+1, p.User)
		}
		seen[id] = true
		l := ledger.Patron{User: id, Monthly: horde.Whole(p.Kudos)}
		if !p.Until.IsZero() {
			l.Until = p.Until.UnixMilli()
		}
		list = append(list, l)
	}
	return list, nil
}
