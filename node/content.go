package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/internal/outbound"
	"hordenode/ledger"
	"hordenode/node/modelref"
	"hordenode/node/pricing"
)

// What all nodes must agree on and is too long for the ledger (docs/decisions/0019): an admin
// hands the content to one node, the ledger gets its hash, and nodes fetch it from each other.
//
//	hordenode reference set ─► check, keep in models/ ─► ledger.Config: SHA-256
//	                                                          │ every node, each second
//	 another member ──content/1(hash)──► check, keep in models/ ◄┘─► in use; the last good one until then
const protoContent = "/horde/content/1" // SHA-256 in hex → the content

// A contentKind is one of the things that can be agreed on.
type contentKind struct {
	name  string                           // as an operator says it
	field func(c *ledger.Config) *string   // where its hash is
	check func(data []byte) error          // may it be used?
	use   func(n *Node, data []byte) error // nil data: what this node has of its own
}

func contentKinds() []contentKind {
	return []contentKind{
		{
			"images", func(c *ledger.Config) *string { return &c.ImageModels },
			func(data []byte) error { return modelref.Check(horde.KindImage, data) },
			func(n *Node, data []byte) error { return n.models.Pin(context.Background(), horde.KindImage, data) },
		},
		{
			"texts", func(c *ledger.Config) *string { return &c.TextModels },
			func(data []byte) error { return modelref.Check(horde.KindText, data) },
			func(n *Node, data []byte) error { return n.models.Pin(context.Background(), horde.KindText, data) },
		},
		{
			"prices", func(c *ledger.Config) *string { return &c.ImagePrices },
			func(data []byte) error { _, err := pricing.NewModel(data); return err },
			(*Node).usePrices,
		},
	}
}

// content is what this node knows of the agreed content.
type content struct {
	mu  sync.Mutex
	use map[string]string // by kind's name: the hash that is in use; none: this node's own
}

func (c *content) get(kind string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.use[kind]
}

func (c *content) set(kind, hash string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.use == nil {
		c.use = map[string]string{}
	}
	c.use[kind] = hash
}

// usePrices prices images by the model in data, else by the operator's, else as fitted.
func (n *Node) usePrices(data []byte) error {
	if data == nil {
		n.prices.Use(n.ownPrices)
		return nil
	}
	m, err := pricing.NewModel(data)
	if err != nil {
		return err
	}
	n.prices.Use(m)
	return nil
}

// openPrices reads the operator's model of image prices, if there is one.
func (n *Node) openPrices() error {
	n.prices = pricing.NewList(n.models)
	if n.cfg.KudosModel == "" {
		return nil
	}
	f, err := os.Open(n.cfg.KudosModel)
	if err != nil {
		return fmt.Errorf("model of image prices: %w", err)
	}
	data, err := readSome(f, pricing.MaxModelFile)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("model of image prices: %w", err)
	}
	if n.ownPrices, err = pricing.NewModel(data); err != nil {
		return fmt.Errorf("%s: %w", n.cfg.KudosModel, err)
	}
	n.prices.Use(n.ownPrices)
	return nil
}

// references is the client that reads references by their address.
func (n *Node) references() *outbound.Client {
	c := outbound.New(outbound.Policy{
		Redirects: 3, Timeout: 30 * time.Second, Allow: n.cfg.OutboundAllow, RootCAs: n.cfg.OutboundRoots, Own: outbound.Interfaces,
	})
	n.onClose(func() error { c.Close(); return nil })
	return c
}

const (
	contentEvery = time.Second
	contentCall  = 30 * time.Second // of one member, for one content
	contentAgain = 5 * time.Second  // after nobody had it
)

// followContent uses what the ledger says, as soon as it is here.
func (n *Node) followContent(ctx context.Context) error {
	wait := contentEvery
	for {
		cfg, missing := n.ledger.Config(), false
		for _, k := range contentKinds() {
			if err := n.align(ctx, k, *k.field(&cfg)); err != nil {
				missing = true
				n.log.WarnContext(ctx, "agreed content not in use yet", "kind", k.name, "err", err)
			}
		}
		if wait = contentEvery; missing {
			wait = contentAgain
		} else {
			n.dropContent(ctx, cfg)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// align puts the content of a hash to use, if it is not.
func (n *Node) align(ctx context.Context, k contentKind, hash string) error {
	if n.content.get(k.name) == hash {
		return nil
	}
	var data []byte
	if hash != "" {
		var err error
		if data, err = n.findContent(ctx, hash); err != nil {
			return err
		}
	}
	if err := k.use(n, data); err != nil {
		return err
	}
	n.content.set(k.name, hash)
	n.log.InfoContext(ctx, "agreed content in use", "kind", k.name, "sha256", hash)
	return nil
}

// findContent reads content from the disk, or asks the other members for it.
func (n *Node) findContent(ctx context.Context, hash string) ([]byte, error) {
	data, err := n.readContent(hash)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	for _, p := range n.host.Peers() {
		if !p.Connected {
			continue
		}
		ask, cancel := context.WithTimeout(ctx, contentCall)
		data, err = n.host.Call(ask, p.ID, protoContent, []byte(hash))
		cancel()
		if err != nil {
			continue
		}
		if hashOf(data) != hash {
			n.log.WarnContext(ctx, "a member sent other content than it was asked for", "member", p.ID)
			continue
		}
		return data, n.keepContent(hash, data)
	}
	return nil, fmt.Errorf("no member that can be reached has the content %.12s…", hash)
}

func (n *Node) handleContent(_ context.Context, _ horde.NodeID, req []byte) ([]byte, error) {
	return n.readContent(string(req))
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// contentPrefix begins the names of the files of agreed content, in models/.
const contentPrefix = "agreed-"

// contentPath is where content is kept. hash must be one.
func (n *Node) contentPath(hash string) (string, error) {
	if raw, err := hex.DecodeString(hash); err != nil || len(raw) != sha256.Size || strings.ToLower(hash) != hash {
		return "", errors.New("not a SHA-256 in hex")
	}
	return filepath.Join(n.dir.join("models"), contentPrefix+hash), nil
}

// readContent reads content that is here: fs.ErrNotExist if it is not, or not whole.
func (n *Node) readContent(hash string) ([]byte, error) {
	path, err := n.contentPath(hash)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err == nil && hashOf(data) != hash {
		return nil, fmt.Errorf("%s is damaged: %w", path, fs.ErrNotExist)
	}
	return data, err
}

// keepContent writes content so that a crash leaves it whole or not at all.
func (n *Node) keepContent(hash string, data []byte) error {
	path, err := n.contentPath(hash)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.dir.join("models"), 0o700); err != nil {
		return err
	}
	return writeWhole(path, data)
}

// writeWhole writes a file beside its place and moves it there.
func writeWhole(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	return os.Rename(path+".new", path)
}

// dropContent deletes what is not agreed on any more. It is called when all that is agreed on
// is in use.
func (n *Node) dropContent(ctx context.Context, cfg ledger.Config) {
	entries, err := os.ReadDir(n.dir.join("models"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.WarnContext(ctx, "agreed content cannot be listed", "err", err)
	}
	for _, e := range entries {
		hash, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), ".new"), contentPrefix) // .new: it is being written
		if !ok || slices.Contains([]string{cfg.ImageModels, cfg.TextModels, cfg.ImagePrices}, hash) || n.contentNew.holds(hash) {
			continue
		}
		if err := os.Remove(filepath.Join(n.dir.join("models"), e.Name())); err != nil {
			n.log.WarnContext(ctx, "old content not deleted", "err", err)
		}
	}
}
