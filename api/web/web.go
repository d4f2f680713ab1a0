// Package web is the page that a node shows to people who open its address in a browser:
// what this node and its federation are, live.
//
//	GET /                        page ──┐ no build step, nothing from elsewhere
//	GET /assets/…                style, script, icon
//	GET /api/fed/v1/events       Server-Sent Events "overview", whenever it changed
//	GET /api/fed/v1/overview     the same once, for those without events
//
// It decides nothing and stores nothing; what it shows comes from a Source.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync"
	"time"
)

//go:embed index.html assets
var files embed.FS

const (
	maxClients = 256              // event streams at once
	every      = time.Second      // how old an overview may be
	heartbeat  = 15 * time.Second // a comment, so that proxies keep an idle stream open
	writeLimit = 5 * time.Second  // a client that takes longer to read is dropped
	reconnect  = 3 * time.Second  // what browsers wait before they come back
)

// policy allows what this node serves itself and nothing else.
const policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// Handler serves the page and its data. Event streams end when a client leaves or its
// request's context is done: give the http.Server a BaseContext that ends with the node,
// since Shutdown alone waits for them.
func Handler(src Source) http.Handler {
	h := &handler{src: src, slots: make(chan struct{}, maxClients), tick: every, beat: heartbeat, now: time.Now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", page("index.html"))
	for _, name := range assets() {
		mux.HandleFunc("GET /"+name, page(name))
	}
	mux.HandleFunc("GET /api/fed/v1/overview", h.overview)
	mux.HandleFunc("GET /api/fed/v1/events", h.events)
	return mux
}

// assets lists the embedded files under assets/.
func assets() []string {
	names, err := fs.Glob(files, "assets/*")
	if err != nil {
		panic("web: a constant pattern is bad: " + err.Error())
	}
	return names
}

// page serves one embedded file, revalidated by its hash: a new version of the node is
// seen at once, and an old one is not sent twice.
func page(name string) http.HandlerFunc {
	b, err := files.ReadFile(name)
	if err != nil {
		panic("web: an embedded file is missing: " + err.Error())
	}
	sum := sha256.Sum256(b)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	}
}

type handler struct {
	src   Source
	slots chan struct{} // one for each event stream
	tick  time.Duration
	beat  time.Duration
	now   func() time.Time

	mu    sync.Mutex // guards the fields below; held while src is asked
	last  []byte     // the overview as JSON
	asked time.Time
}

// latest returns the overview as JSON, at most one tick old: however many watch, the
// source is asked once a tick.
func (h *handler) latest() ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now(); h.last == nil || now.Sub(h.asked) >= h.tick {
		b, err := json.Marshal(h.src.Overview())
		if err != nil {
			return nil, fmt.Errorf("encode overview: %w", err)
		}
		h.last, h.asked = b, now
	}
	return h.last, nil
}

func (h *handler) overview(w http.ResponseWriter, _ *http.Request) {
	b, err := h.latest()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "The overview cannot be shown at the moment.")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b) // a client that went away is its own affair
}

// events sends the overview now and whenever it changed.
func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "Too many are watching at the moment; ask for the overview now and then instead.")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not hold events back
	out := stream{w, http.NewResponseController(w)}
	if out.send(fmt.Sprintf("retry: %d\n\n", reconnect.Milliseconds())) != nil {
		return
	}
	tick := time.NewTicker(h.tick)
	defer tick.Stop()
	var shown []byte
	quiet := h.now()
	for {
		b, err := h.latest()
		if err != nil {
			return
		}
		msg := ""
		switch {
		case !bytes.Equal(b, shown):
			msg = "event: overview\ndata: " + string(b) + "\n\n"
		case h.now().Sub(quiet) >= h.beat:
			msg = ": still here\n\n"
		}
		if msg != "" {
			if out.send(msg) != nil {
				return
			}
			shown, quiet = b, h.now()
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// A stream writes through to the client, or fails in time.
type stream struct {
	w   http.ResponseWriter
	ctl *http.ResponseController
}

func (s stream) send(msg string) error {
	// A writer without deadlines (a test's recorder) cannot block either.
	if err := s.ctl.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write([]byte(msg)); err != nil {
		return err
	}
	return s.ctl.Flush()
}

// refuse answers as the rest of the API does: a JSON object with a message.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // a client that went away is its own affair
}
