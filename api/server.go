package api

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"hordenode/api/ratelimit"
)

// Config says how a node presents itself.
type Config struct {
	NodeName string // first part of the Horde-Node header
	Port     int    // second part
	Version  string // third part, and the version of heartbeats

	PublicURL      string         // base of the addresses handed out; empty: scheme and host of the request
	BlobSecret     []byte         // key of the signatures in blob addresses, at least 16 bytes; the same on all nodes or not
	TrustedProxies []netip.Prefix // peers whose X-Forwarded-For is believed
	NoRateLimits   bool
	LargeBodies    int64              // bytes of large bodies in memory at one time; 0: a sixteenth of the heap's limit, 32 to 256 MiB
	Limits         *ratelimit.Counter // counts requests, of other nodes too; nil: this node's only
	TestAPIKeys    bool               // serves POST /api/v2/dev/test-user to loopback peers

	Endpoints []Endpoint // of the node itself

	Documents fs.FS // the operator's terms.md, privacy.md and sponsors.md; nil or missing: ours

	Profanity []string // lower-case words that names must not hold; nil: a short list

	Now  func() time.Time
	Rand func() uint64 // seeds of images
	Log  *slog.Logger
}

// withDefaults fills in what was left out, or says what must not be.
func (c Config) withDefaults() (Config, error) {
	if len(c.BlobSecret) < 16 {
		return c, fmt.Errorf("api: blob secret has %d bytes, need 16", len(c.BlobSecret))
	}
	if c.Profanity == nil {
		c.Profanity = defaultProfanity()
	}
	if c.LargeBodies == 0 {
		c.LargeBodies = bulkOf(debug.SetMemoryLimit(-1))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Uint64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return c, nil
}

// Server answers API requests. It holds no state but counters and caches that may be lost.
type Server struct {
	cfg      Config // immutable, like deps
	deps     Deps
	log      *slog.Logger
	now      func() time.Time
	limiter  *limiter
	misses   *misses
	waiters  *waiters
	parking  *parking
	bulk     *bulk
	suspects *suspects
	filters  compiledFilters
	proxies  proxies
	mux      *http.ServeMux
	pages    *pages // templates and keys of the pages for people
}

// New returns a server of all routes.
func New(cfg Config, deps Deps) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	pages, err := newPages(cfg.BlobSecret)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		deps:     deps,
		log:      cfg.Log,
		now:      cfg.Now,
		limiter:  newLimiter(cfg.Now, cfg.Limits),
		misses:   newMisses(cfg.Now),
		suspects: newSuspects(cfg.Now),
		parking:  newParking(),
		bulk:     newBulk(cfg.LargeBodies),
		waiters:  newWaiters(maxWaiters, maxWaitersPerClient),
		mux:      http.NewServeMux(),
		pages:    pages,
	}
	byPath := map[string][]route{}
	for _, rt := range s.routes() {
		byPath[rt.path] = append(byPath[rt.path], rt)
	}
	for path, routes := range byPath {
		s.mux.Handle(path, s.endpoint(routes))
	}
	s.mux.HandleFunc("/", s.notFound)
	return s, nil
}

// A route is one method of one path; doc.go explains its fields.
type route struct {
	method   string
	path     string
	handle   func(http.ResponseWriter, *http.Request) error
	limits   []limit // nil: 90 a minute by address
	body     int64   // largest body in bytes; 0: 64 kB
	schema   *schema // the body's; nil: not validated
	unmasked bool    // X-Fields does not apply
	raw      bool    // the handler reads the body itself, no JSON

	patience time.Duration // how long the handler may take; 0: patience
}

// Handler serves the API. A panic of a handler becomes a 500 and a log line.
func (s *Server) Handler() http.Handler {
	node := fmt.Sprintf("%s:%d:%s", s.cfg.NodeName, s.cfg.Port, s.cfg.Version)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rw := &responder{ResponseWriter: w}
		defer s.rescue(rw, r)
		allowOrigins(rw.Header())
		rw.Header().Set("Horde-Node", node)
		rw.Header().Set("X-Content-Type-Options", "nosniff")
		if !isClean(r.URL.EscapedPath()) {
			s.notFound(rw, r)
			return
		}
		s.mux.ServeHTTP(rw, r)
	})
}

// isClean tells paths as they are registered from those that ServeMux would redirect.
func isClean(p string) bool {
	c := path.Clean(p)
	return p == c || p == c+"/"
}

// notFound serves what is at no registered path.
func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.fail(w.(*responder), r, plain(http.StatusNotFound, "There is nothing at this address."))
}

// rescue turns a panic into a 500.
func (s *Server) rescue(w *responder, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.log.ErrorContext(r.Context(), "handler panicked", "method", r.Method, "route", r.Pattern, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if !w.wrote {
		s.fail(w, r, plain(http.StatusInternalServerError, internalText))
	}
}

// endpoint serves the methods of one path.
func (s *Server) endpoint(routes []route) http.Handler {
	var methods []string
	for _, rt := range routes {
		methods = append(methods, rt.method)
		if rt.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	methods = append(methods, http.MethodOptions)
	slices.Sort(methods)
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rw := w.(*responder)
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		i := slices.IndexFunc(routes, func(rt route) bool { return rt.method == method })
		switch {
		case i >= 0:
			s.serve(routes[i], rw, r)
		case method == http.MethodOptions:
			rw.Header().Set("Allow", allow)
			rw.WriteHeader(http.StatusOK)
		default:
			rw.Header().Set("Allow", allow)
			s.fail(rw, r, plain(http.StatusMethodNotAllowed, "The method is not allowed for the requested URL."))
		}
	})
}

// patience bounds how long a request may wait for the parts behind the API.
const patience = 30 * time.Second

// serve takes one request through limits, body, schema and mask to its handler.
func (s *Server) serve(rt route, w *responder, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), max(patience, rt.patience))
	defer cancel()
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		body := &bulkBody{ReadCloser: r.Body, bulk: s.bulk, client: func() string { return network(s.clientIP(r)) }}
		defer body.free()
		r.Body = body
	}
	tellCaches(w.Header(), r)
	err := s.allow(rt, w, r)
	if err == nil {
		r, err = readBody(rt, w, r, s.now())
	}
	if err == nil && !rt.unmasked {
		w.mask, err = parseMask(r.Header.Get("X-Fields"))
	}
	if err == nil {
		err = rt.handle(w, r)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

// A responder is the ResponseWriter that handlers get.
type responder struct {
	http.ResponseWriter
	mask  *mask // nil: everything
	wrote bool
}

func (w *responder) WriteHeader(status int) {
	w.wrote = true
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what it needs.
func (w *responder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responder) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}
