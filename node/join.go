package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/p2p"
)

const (
	pathJoin    = "/api/fed/v1/join"
	maxJoinSize = 1 << 20
)

// join asks the inviter's node to be admitted and returns what it must know to find the
// others. Both sides sign: the token names the inviter, so nobody else can answer for it.
func join(ctx context.Context, token string, me horde.Member, sign func([]byte) []byte) (federation, error) {
	invite, err := ledger.ParseInvite(token, time.Now())
	if err != nil {
		return federation{}, fmt.Errorf("join token: %w", err)
	}
	req, err := ledger.SignJoin(ledger.JoinRequest{
		Token: token, ID: me.ID, PublicKey: me.PublicKey, Addrs: me.Addrs, Name: me.Name, URL: me.URL,
		Version: ledger.Version(me.Ledger),
	}, sign)
	if err != nil {
		return federation{}, err
	}
	var errs []error
	for _, url := range invite.URLs {
		answer, err := postJoin(ctx, url, req)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", url, err))
			continue
		}
		got, err := ledger.ParseJoinAnswer(answer, invite)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", url, err))
			continue
		}
		return federation{Cluster: got.Cluster.String(), Epoch: got.Epoch, Members: got.Members}, nil
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("the token names no address"))
	}
	return federation{}, fmt.Errorf("join the federation: %w", errors.Join(errs...))
}

func postJoin(ctx context.Context, base string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(base, "/")+pathJoin, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxJoinSize))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		var e struct{ Message string }
		if json.Unmarshal(b, &e) == nil && e.Message != "" {
			return nil, errors.New(e.Message)
		}
		return nil, fmt.Errorf("answered %s", res.Status)
	}
	return b, nil
}

// serveJoin admits the holder of a token that a member of this federation signed. The
// ledger judges; the answer tells the newcomer who the members are.
func (n *Node) serveJoin(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJoinSize))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, "The join request is too large.")
		return
	}
	req, invite, err := ledger.ParseJoin(body, time.Now())
	if err != nil {
		writeError(w, http.StatusForbidden, "This node cannot join: "+err.Error()+".")
		return
	}
	if id, err := p2p.IDFromKey(req.PublicKey); err != nil || id != req.ID {
		writeError(w, http.StatusForbidden, "The node's id does not belong to its key.")
		return
	}
	if err := n.ledger.AdmitMember(r.Context(), body); err != nil {
		var refused *horde.Error
		if errors.As(err, &refused) {
			status := http.StatusForbidden
			if refused.RC == horde.RCUnavailable {
				status = http.StatusServiceUnavailable
			}
			writeError(w, status, refused.Msg)
			return
		}
		n.log.ErrorContext(r.Context(), "join failed", "err", err)
		writeError(w, http.StatusInternalServerError, "The node could not be admitted.")
		return
	}
	answer, err := ledger.SignJoinAnswer(ledger.JoinAnswer{
		Cluster: n.cluster, Epoch: n.machine.Head().Epoch, Nonce: invite.Nonce,
		Members: withAddrs(n.ledger.Members(), n.self, n.announceAddrs()),
	}, n.sign)
	if err != nil {
		n.log.ErrorContext(r.Context(), "join answer", "err", err)
		writeError(w, http.StatusInternalServerError, "The node was admitted, but could not be answered.")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := w.Write(answer); err != nil {
		n.log.InfoContext(r.Context(), "newcomer hung up", "err", err)
	}
	n.log.InfoContext(r.Context(), "member admitted", "name", req.Name, "node", req.ID)
}

// writeError answers as all of the API does: a JSON object with a message.
func writeError(w http.ResponseWriter, status int, msg string) {
	writeJSON(w, status, map[string]string{"message": msg})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"message":"Internal Server Error"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if _, err := w.Write(append(b, '\n')); err != nil {
		return // the client is gone; there is nobody to tell
	}
}

// withAddrs puts this node's addresses into what a newcomer is told. The ledger may not have
// them yet: a founder announces them a moment after its first start, and a newcomer that
// comes earlier could reach nobody, nor be reached.
func withAddrs(members []horde.Member, self horde.NodeID, addrs []string) []horde.Member {
	members = slices.Clone(members)
	for i := range members {
		if members[i].ID == self {
			members[i].Addrs = addrs
		}
	}
	return members
}
