package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"hordenode/internal/horde"
	"hordenode/node/modelref"
)

// A ContentStatus is a row of `hordenode reference`.
type ContentStatus struct {
	Kind   string `json:"kind"`
	Agreed string `json:"agreed"` // SHA-256 of what all nodes use; empty: each its own
	InUse  bool   `json:"in_use"` // here
}

// pending are hashes that are about to be agreed on: their files must stay.
type pending struct {
	mu     sync.Mutex
	hashes map[string]int
}

func (p *pending) add(hash string, by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hashes == nil {
		p.hashes = map[string]int{}
	}
	if p.hashes[hash] += by; p.hashes[hash] == 0 {
		delete(p.hashes, hash)
	}
}

func (p *pending) holds(hash string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hashes[hash] > 0
}

// SetContent makes data what all nodes use of a kind ("images", "texts", "prices"); nil lets
// each use its own again. It returns the hash.
func (n *Node) SetContent(ctx context.Context, kind string, data []byte) (string, error) {
	k, ok := contentNamed(kind)
	if !ok {
		return "", horde.Refuse(horde.RCBadRequest, "There is no %q to agree on.", kind)
	}
	hash := ""
	if data != nil {
		if err := k.check(data); err != nil {
			return "", horde.Refuse(horde.RCBadRequest, "This cannot be used: %v.", err)
		}
		hash = hashOf(data)
		n.contentNew.add(hash, 1)
		defer n.contentNew.add(hash, -1)
		if err := n.keepContent(hash, data); err != nil {
			return "", err
		}
	}
	cfg := n.ledger.Config()
	*k.field(&cfg) = hash
	return hash, n.ledger.Configure(ctx, founder, cfg)
}

func contentNamed(name string) (contentKind, bool) {
	for _, k := range contentKinds() {
		if k.name == name {
			return k, true
		}
	}
	return contentKind{}, false
}

func (n *Node) controlContents(w http.ResponseWriter, _ *http.Request) {
	cfg := n.ledger.Config()
	var list []ContentStatus
	for _, k := range contentKinds() {
		hash := *k.field(&cfg)
		list = append(list, ContentStatus{Kind: k.name, Agreed: hash, InUse: n.content.get(k.name) == hash})
	}
	writeJSON(w, http.StatusOK, list)
}

// controlSetContent serves PUT and DELETE /content/{kind}; the body is the content.
func (n *Node) controlSetContent(w http.ResponseWriter, r *http.Request) {
	var data []byte
	if r.Method == http.MethodPut {
		var err error
		if data, err = readSome(r.Body, modelref.MaxSize); err != nil {
			writeError(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	hash, err := n.SetContent(r.Context(), r.PathValue("kind"), data)
	if err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, ContentStatus{Kind: r.PathValue("kind"), Agreed: hash})
}

// readSome reads up to most bytes; nothing is an empty slice, not nil.
func readSome(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the content: %w", err)
	case int64(len(data)) > most:
		return nil, errors.New("the content is too long")
	}
	return data, nil
}
