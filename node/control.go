package node

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// serveControl answers the operator's commands on DATA/control.sock: whoever may open the
// socket (mode 0600) may do everything, so there is no password.
func (n *Node) serveControl(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", n.controlStatus)
	mux.HandleFunc("GET /members", n.controlMembers)
	mux.HandleFunc("POST /members/{name}/{do}", n.controlMember)
	mux.HandleFunc("POST /upgrade", n.controlUpgrade)
	mux.HandleFunc("POST /invite", n.controlInvite)
	mux.HandleFunc("POST /users", n.controlUser)
	n.controlAdmin(mux)
	mux.HandleFunc("PUT /patrons", n.controlPatrons)
	mux.HandleFunc("GET /backup", n.controlBackup)
	mux.HandleFunc("GET /shards", n.controlShards)
	mux.HandleFunc("PUT /shards", n.controlShards)
	mux.HandleFunc("GET /content", n.controlContents)
	mux.HandleFunc("PUT /content/{kind}", n.controlSetContent)
	mux.HandleFunc("DELETE /content/{kind}", n.controlSetContent)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: quiet()}
	return serve(ctx, srv, n.control)
}

// listenControl opens the socket; one that a crash left behind is removed, which is safe
// because the directory is locked.
func listenControl(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, os.Chmod(path, 0o600)
}

func (n *Node) controlStatus(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, n.Status())
}

func (n *Node) controlMembers(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, n.MemberList())
}

func (n *Node) controlMember(w http.ResponseWriter, r *http.Request) {
	do := r.PathValue("do")
	if measure, ok := measureOf(do); ok {
		n.controlDiscipline(w, r, measure)
		return
	}
	m, ok := n.memberNamed(r.PathValue("name"))
	if !ok {
		writeError(w, http.StatusNotFound, fmt.Sprintf("No member is called %q.", r.PathValue("name")))
		return
	}
	if do != "promote" && do != "demote" && do != "remove" {
		writeError(w, http.StatusNotFound, "Members can be promoted, demoted, suspended, expelled, readmitted or removed.")
		return
	}
	if err := n.changeMember(r.Context(), m, do); err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"message": "OK"})
}

// changeMember writes the operator's decision into the ledger; the leader's autopilot
// carries it out. A promotion beyond the usual number of voters is asked of the leader.
func (n *Node) changeMember(ctx context.Context, m horde.Member, do string) error {
	if do == "remove" {
		return n.ledger.RemoveMember(ctx, m.ID)
	}
	may := do == "promote"
	if err := n.ledger.UpdateMember(ctx, ledger.MemberChange{ID: m.ID, Voter: &may}); err != nil {
		return err
	}
	if do == "demote" {
		return nil
	}
	if n.group.IsLeader() {
		return n.group.Promote(string(m.ID))
	}
	leader, err := n.leader()
	if err != nil {
		return err
	}
	_, err = n.host.Call(ctx, leader, protoPromote, []byte(m.ID))
	return err
}

func (n *Node) handlePromote(_ context.Context, _ horde.NodeID, req []byte) ([]byte, error) {
	m, ok := n.ledger.Member(horde.NodeID(req))
	if !ok || !m.Active || !m.Voter {
		return nil, errors.New("not a member that may vote")
	}
	if err := n.group.Promote(string(m.ID)); err != nil {
		return nil, remote(err)
	}
	return nil, nil
}

func (n *Node) memberNamed(name string) (horde.Member, bool) {
	for _, m := range n.ledger.Members() {
		if m.Active && (m.Name == name || string(m.ID) == name) {
			return m, true
		}
	}
	return horde.Member{}, false
}

func (n *Node) controlUpgrade(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Force bool `json:"force"`
	}
	if !readJSON(w, r, &q) {
		return
	}
	v, err := n.Upgrade(r.Context(), q.Force)
	if errors.Is(err, errNotHeard) {
		writeError(w, http.StatusConflict, err.Error())
		return
	}
	if err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]ledger.Version{"version": v})
}

func (n *Node) controlInvite(w http.ResponseWriter, r *http.Request) {
	q := struct {
		TTL   int64 `json:"ttl_seconds"`
		Voter bool  `json:"voter"`
	}{TTL: 86400, Voter: true}
	if !readJSON(w, r, &q) {
		return
	}
	if q.TTL <= 0 || q.TTL > 30*86400 {
		writeError(w, http.StatusBadRequest, "An invitation lasts between a second and 30 days.")
		return
	}
	token, err := n.Invite(time.Duration(q.TTL)*time.Second, q.Voter)
	if err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"token": token})
}

// Invite makes a token that lets one node join until it expires.
func (n *Node) Invite(ttl time.Duration, voter bool) (string, error) {
	inv := ledger.Invite{
		Cluster: n.cluster,
		Epoch:   n.machine.Head().Epoch,
		Inviter: n.self,
		Key:     n.key.Public().(ed25519.PublicKey),
		Voter:   voter,
		Expires: time.Now().Add(ttl),
		URLs:    []string{n.URL()},
	}
	if _, err := io.ReadFull(n.rand, inv.Nonce[:]); err != nil {
		return "", err
	}
	return ledger.SignInvite(inv, n.sign)
}

func (n *Node) controlUser(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Name                      string
		Moderator, Admin, Trusted bool
		Kudos                     int64
	}
	if !readJSON(w, r, &q) {
		return
	}
	u, key, err := n.createUser(r.Context(), ledger.NewUser{
		Name: q.Name, Class: horde.ClassRegistered,
		Roles: horde.Roles(0).
			With(horde.RoleModerator|horde.RoleTrusted, q.Moderator).
			With(horde.RoleAdmin, q.Admin).
			With(horde.RoleTrusted, q.Trusted || q.Moderator),
		Kudos: horde.Whole(q.Kudos),
	})
	if err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"id": u.ID, "alias": u.Alias(), "api_key": string(key)})
}

func (n *Node) createUser(ctx context.Context, q ledger.NewUser) (horde.User, horde.APIKey, error) {
	if q.Name == "" || len(q.Name) > 30 {
		return horde.User{}, "", horde.Refuse(horde.RCTooLongUserName, "A user name has 1 to 30 characters.")
	}
	return n.ledger.CreateUser(ctx, q)
}

func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(v); err != nil {
		writeError(w, http.StatusBadRequest, "The body is not the JSON that was expected: "+err.Error())
		return false
	}
	return true
}

func answerError(w http.ResponseWriter, err error) {
	var refused *horde.Error
	if errors.As(err, &refused) {
		writeError(w, http.StatusConflict, refused.Msg)
		return
	}
	writeError(w, http.StatusInternalServerError, err.Error()) // the operator may see it all
}
