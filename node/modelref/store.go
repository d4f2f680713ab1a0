package modelref

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hordenode/internal/horde"
)

// Config says where the references are.
type Config struct {
	// Files, http(s) addresses or BuiltinImages; later ones win. One that ends with
	// #sha256=HEX is taken only if it has that hash.
	Images []string
	Texts  []string // likewise, or BuiltinTexts
	Dir    string   // where the last good copy of each source is kept; empty: nowhere

	Refresh time.Duration // between reloads; 0: 1 hour
	Timeout time.Duration // of one load; 0: 30 s
	Fetch   Fetcher       // reads addresses; nil: they cannot be read
	Log     *slog.Logger  // nil: silent
}

// A Fetcher reads what is at an address, most bytes at most. *outbound.Client implements it.
type Fetcher interface {
	Get(ctx context.Context, address string, most int64) ([]byte, error)
}

// A Store holds the references as they were last loaded. A nil *Store knows no model.
type Store struct {
	cfg     Config
	current atomic.Pointer[snapshot]

	mu     sync.Mutex // held while the references are loaded; guards pinned
	pinned snapshot   // what the federation agreed on; a nil map: nothing
}

// A snapshot is never changed once it is stored.
type snapshot struct {
	images map[string]Image
	texts  map[string]Text
}

// Open returns a store and loads what can be loaded. A source that fails is replaced by its
// last good copy, or left out, and is tried again by Run: a node must start without it.
func Open(ctx context.Context, cfg Config) *Store {
	if cfg.Refresh <= 0 {
		cfg.Refresh = time.Hour
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg}
	s.current.Store(&snapshot{})
	s.Reload(ctx)
	return s
}

// retryAfter is how soon Run comes back when a source failed.
const retryAfter = time.Minute

// Run reloads the references until ctx is done. It returns nil.
func (s *Store) Run(ctx context.Context) error {
	wait := s.cfg.Refresh
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = s.cfg.Refresh
		if !s.Reload(ctx) {
			wait = min(wait, retryAfter)
		}
	}
}

// Reload loads all sources again and tells whether each could be read. What a failing
// source said before stays known.
func (s *Store) Reload(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reload(ctx)
}

// reload is Reload; mu is held.
func (s *Store) reload(ctx context.Context) bool {
	next, all := &snapshot{images: map[string]Image{}, texts: map[string]Text{}}, true
	last := s.current.Load()
	if s.pinned.images == nil {
		all = gather(ctx, s, s.cfg.Images, parseImages, next.images, last.images)
	} else {
		next.images = s.pinned.images
	}
	if s.pinned.texts == nil {
		all = gather(ctx, s, s.cfg.Texts, parseTexts, next.texts, last.texts) && all
	} else {
		next.texts = s.pinned.texts
	}
	s.current.Store(next)
	return all
}

// Pin makes data the reference of a kind, image or text, in place of this node's own sources;
// nil gives the sources back their say. If data cannot be read nothing changes.
func (s *Store) Pin(ctx context.Context, kind horde.Kind, data []byte) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.pinned
	switch {
	case kind == horde.KindImage && data == nil:
		next.images = nil
	case kind == horde.KindImage:
		next.images, err = parseImages(data)
	case kind == horde.KindText && data == nil:
		next.texts = nil
	case kind == horde.KindText:
		next.texts, err = parseTexts(data)
	default:
		err = fmt.Errorf("there is no reference of kind %v", kind)
	}
	if err != nil {
		return err
	}
	s.pinned = next
	s.reload(ctx) // what of the sources fails stays as it was
	return nil
}

// Check tells whether data can be the reference of a kind: nil, or why not. One that has no
// model is a mistake.
func Check(kind horde.Kind, data []byte) error {
	if len(data) > MaxSize {
		return errTooLarge
	}
	n, err := 0, error(nil)
	if kind == horde.KindText {
		var m map[string]Text
		m, err = parseTexts(data)
		n = len(m)
	} else {
		var m map[string]Image
		m, err = parseImages(data)
		n = len(m)
	}
	if err == nil && n == 0 {
		err = errors.New("the reference has no model")
	}
	return err
}

// gather reads the sources of a kind into next. If one fails and has no copy, what last knew
// stays known: better old knowledge than none.
func gather[M any](ctx context.Context, s *Store, sources []string, parse func([]byte) (map[string]M, error), next, last map[string]M) (all bool) {
	all = true
	for _, src := range sources {
		all = merge(ctx, s, src, parse, next) && all
	}
	if !all {
		keep(next, last)
	}
	return all
}

// merge adds a source to into. It returns false if the source could not be read, whether or
// not there was a copy of it.
func merge[M any](ctx context.Context, s *Store, src string, parse func([]byte) (map[string]M, error), into map[string]M) bool {
	data, err := s.load(ctx, src)
	var m map[string]M
	if err == nil {
		m, err = parse(data)
	}
	if err == nil {
		s.keepCopy(ctx, src, data)
		maps.Copy(into, m)
		return true
	}
	s.cfg.Log.WarnContext(ctx, "model reference not read", "source", shown(src), "err", err)
	if data, err = s.readCopy(src); err == nil {
		if m, err = parse(data); err == nil {
			maps.Copy(into, m)
			return false
		}
	}
	s.cfg.Log.InfoContext(ctx, "no copy of the model reference", "source", shown(src), "err", err)
	return false
}

// keep adds what is missing.
func keep[M any](into, from map[string]M) {
	for name, m := range from {
		if _, ok := into[name]; !ok {
			into[name] = m
		}
	}
}

// Known tells whether a model is in the references.
func (s *Store) Known(kind horde.Kind, name string) bool {
	switch kind {
	case horde.KindImage:
		_, ok := s.Image(name)
		return ok
	case horde.KindText:
		_, ok := s.Text(name)
		return ok
	}
	return false
}

// Names returns the names of all models of a kind, sorted.
func (s *Store) Names(kind horde.Kind) []string {
	if s == nil {
		return nil
	}
	now := s.current.Load()
	if kind == horde.KindImage {
		return slices.Sorted(maps.Keys(now.images))
	}
	if kind == horde.KindText {
		return slices.Sorted(maps.Keys(now.texts))
	}
	return nil
}

// parseImages reads an image reference. An entry that does not look like a model is left
// out, requirements that cannot be read are not asked for.
func parseImages(data []byte) (map[string]Image, error) {
	return parse(data, func(raw json.RawMessage) (Image, bool) {
		var m Image
		if json.Unmarshal(raw, &m) != nil {
			return Image{}, false
		}
		var with struct {
			Requirements Requirements `json:"requirements"`
		}
		if json.Unmarshal(raw, &with) == nil {
			m.Requirements = with.Requirements
		}
		return m, true
	})
}

// parseTexts reads a text reference.
func parseTexts(data []byte) (map[string]Text, error) {
	return parse(data, func(raw json.RawMessage) (Text, bool) {
		var m Text
		return m, json.Unmarshal(raw, &m) == nil && m.Parameters >= 0
	})
}

func parse[M any](data []byte, entry func(json.RawMessage) (M, bool)) (map[string]M, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("parse reference: %w", err)
	}
	if len(raw) > maxModels {
		return nil, fmt.Errorf("parse reference: it has %d models, at most %d are read", len(raw), maxModels)
	}
	out := make(map[string]M, len(raw))
	for name, r := range raw {
		if m, ok := entry(r); ok {
			out[name] = m
		}
	}
	return out, nil
}
