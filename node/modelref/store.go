package modelref

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"hordenode/internal/horde"
)

// Config says where the references are.
type Config struct {
	Images []string // files, http(s) addresses or BuiltinImages; later ones win
	Texts  []string // likewise, or BuiltinTexts
	Dir    string   // where the last good copy of each source is kept; empty: nowhere

	Refresh time.Duration // between reloads; 0: 1 hour
	Timeout time.Duration // of one load; 0: 30 s
	HTTP    *http.Client  // nil: http.DefaultClient
	Log     *slog.Logger  // nil: silent
}

// A Store holds the references as they were last loaded. A nil *Store knows no model.
type Store struct {
	cfg     Config
	current atomic.Pointer[snapshot]
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
	if cfg.HTTP == nil {
		cfg.HTTP = http.DefaultClient
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
	next, all := &snapshot{images: map[string]Image{}, texts: map[string]Text{}}, true
	for _, src := range s.cfg.Images {
		all = merge(ctx, s, src, parseImages, next.images) && all
	}
	for _, src := range s.cfg.Texts {
		all = merge(ctx, s, src, parseTexts, next.texts) && all
	}
	last := s.current.Load()
	if !all { // no copy may be at hand: better old knowledge than none
		keep(next.images, last.images)
		keep(next.texts, last.texts)
	}
	s.current.Store(next)
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
	s.cfg.Log.WarnContext(ctx, "model reference not read", "source", src, "err", err)
	if data, err = s.readCopy(src); err == nil {
		if m, err = parse(data); err == nil {
			maps.Copy(into, m)
			return false
		}
	}
	s.cfg.Log.InfoContext(ctx, "no copy of the model reference", "source", src, "err", err)
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
	out := make(map[string]M, len(raw))
	for name, r := range raw {
		if m, ok := entry(r); ok {
			out[name] = m
		}
	}
	return out, nil
}
