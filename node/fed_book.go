package node

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"net/http"

	"hordenode/api"
	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/p2p"
)

// shown is the ledger as package api shows it to anybody.
type shown struct{ n *Node }

// Proof implements api.Book.
func (b shown) Proof(user horde.UserID, private bool) (any, bool) {
	p, ok := b.n.ledger.Proof(user)
	if !ok {
		return nil, false
	}
	return ledger.NewProof(p, b.n.signHead(p.Checkpoint), private), true
}

// Statement implements api.Book.
func (b shown) Statement(user horde.UserID, before uint64, limit int) []api.StatementLine {
	lines := b.n.ledger.StatementPage(user, before, limit)
	out := make([]api.StatementLine, 0, len(lines))
	for _, l := range lines {
		out = append(out, api.StatementLine{
			Number: l.Number, At: l.At, Amount: l.Amount, Escrow: l.Escrow, Reason: l.Reason.String(), Kind: l.Action, With: l.WithAlias,
			Request: l.Request, Of: l.Of, Balance: l.Balance, EscrowBalance: l.EscrowBalance,
		})
	}
	return out
}

// Moderation implements api.Book.
func (b shown) Moderation(before uint64, limit int) []api.ModerationAct {
	acts := b.n.ledger.Moderations(before, limit)
	out := make([]api.ModerationAct, 0, len(acts))
	for _, m := range acts {
		out = append(out, api.ModerationAct(m))
	}
	return out
}

// Undo implements api.Book.
func (b shown) Undo(ctx context.Context, actor horde.UserID, number uint64) error {
	return b.n.ledger.UndoModeration(ctx, actor, number)
}

// signedHead is where this node's ledger stood at the last tick; false: there was none since
// it started.
func (n *Node) signedHead() (ledger.SignedHead, bool) {
	c, ok := n.ledger.Checkpoint()
	if !ok {
		return ledger.SignedHead{}, false
	}
	return n.signHead(c), true
}

func (n *Node) signHead(c ledger.Checkpoint) ledger.SignedHead {
	return ledger.SignHead(c, n.self, n.key.Public().(ed25519.PublicKey), n.sign)
}

// headAnswer is GET /api/fed/v1/ledger/head: the last tick, which all nodes have alike, and how
// far this node is now.
type headAnswer struct {
	*ledger.SignedHead // nil: no tick since this node started

	Federation   string `json:"federation"`
	AppliedIndex uint64 `json:"applied_index"`
	ChainHead    string `json:"chain_head"`
	StateHash    string `json:"state_hash"`
	StalenessMS  int64  `json:"staleness_ms"`
}

// serveHead tells where the ledger of this node stands, for comparison with others.
func (n *Node) serveHead(w http.ResponseWriter, _ *http.Request) {
	s := n.Status()
	out := headAnswer{
		Federation: s.Federation, AppliedIndex: s.AppliedIndex, ChainHead: s.ChainHead, StateHash: s.StateHash, StalenessMS: s.StalenessMS,
	}
	if h, ok := n.signedHead(); ok {
		out.SignedHead, out.StateHash = &h, hex.EncodeToString(h.StateHash)
	}
	writeJSON(w, http.StatusOK, out)
}

// A Proof shows one account as of a signed head.
type Proof = ledger.Proof

// ErrSigner says that a head is signed by another key than that of the node it names.
var ErrSigner = errors.New("the key that signed the head is not the node's that it names")

// VerifyProof reads a proof and checks all that can be checked without a network: the account
// is in the tree, the tree's root is in the head, and the node that the head names has signed it.
func VerifyProof(data []byte) (Proof, error) {
	p, err := ledger.VerifyProof(data)
	if err != nil {
		return p, err
	}
	if id, err := p2p.IDFromKey(ed25519.PublicKey(p.Head.PublicKey)); err != nil || id != p.Head.Node {
		return p, ErrSigner
	}
	return p, nil
}
