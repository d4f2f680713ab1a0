package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"hordenode/internal/horde"
)

// syncPatience bounds how long an unknown key or id may wait for the other nodes.
const syncPatience = time.Second

// user is the owner of the request's key. A missing header is a validation error, an
// unknown key horde.RCInvalidAPIKey.
func (s *Server) user(r *http.Request) (horde.User, error) {
	key, ok := apikey(r)
	if !ok {
		return horde.User{}, invalid("apikey", missingHeader("apikey"))
	}
	return s.userByKey(r.Context(), key)
}

// optionalUser is the owner of the request's key, if it has one.
func (s *Server) optionalUser(r *http.Request) (u horde.User, ok bool, err error) {
	key, ok := apikey(r)
	if !ok {
		return horde.User{}, false, nil
	}
	u, err = s.userByKey(r.Context(), key)
	return u, err == nil, err
}

// userByKey finds a key's owner. A key that this node does not know may have been made at
// another one a moment ago, so the miss is confirmed before it becomes a 401.
func (s *Server) userByKey(ctx context.Context, key horde.APIKey) (horde.User, error) {
	if u, ok := s.deps.Accounts.UserByKey(key); ok {
		return u, nil
	}
	unknown := horde.Refuse(horde.RCInvalidAPIKey, "No user has this API key. Please check the apikey header.")
	if key == "" || len(key) > 128 || s.misses.known(key) {
		return horde.User{}, unknown
	}
	if err := s.confirmMiss(ctx); err != nil {
		return horde.User{}, err
	}
	if u, ok := s.deps.Accounts.UserByKey(key); ok {
		return u, nil
	}
	s.misses.add(key)
	return horde.User{}, unknown
}

// confirmMiss waits until local state is as new as now, so that what is still missing is
// missing everywhere. It returns horde.RCUnavailable when that cannot be known, or when
// misses come in such numbers that asking would be an attack on the ledger.
func (s *Server) confirmMiss(ctx context.Context) error {
	if !s.misses.mayAsk() {
		return horde.Refuse(horde.RCUnavailable, "Too many unknown names at once. Please try again.")
	}
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	if err := s.deps.Accounts.Sync(ctx); err != nil {
		return &horde.Error{RC: horde.RCUnavailable, Msg: "This node cannot reach the others for the moment. Please try again.", Err: err}
	}
	return nil
}

// apikey is the apikey header; ok tells whether it is there, be it empty.
func apikey(r *http.Request) (key horde.APIKey, ok bool) {
	v := r.Header.Values("Apikey")
	if len(v) == 0 {
		return "", false
	}
	return horde.APIKey(strings.TrimSpace(v[0])), true
}

// unknownAgent stands for a program that does not name itself.
const unknownAgent = "unknown:0:unknown"

// clientAgent names the program that sent the request; some clients spell the header with
// an underscore.
func clientAgent(r *http.Request) string {
	for _, name := range []string{"Client-Agent", "Client_agent"} {
		if v := r.Header.Get(name); v != "" {
			return truncate(v, 250)
		}
	}
	return unknownAgent
}

const (
	missMemory = 5 * time.Second // how long an unknown key is known to be unknown
	maxMisses  = 4096            // keys remembered
	missRate   = 50              // confirmations a second
)

// misses remembers keys that nobody has, so that a client that repeats one, or a flood of
// random ones, does not make this node ask the others each time.
type misses struct {
	now func() time.Time
	ask *rate.Limiter

	mu   sync.Mutex // guards seen
	seen map[[sha256.Size]byte]time.Time
}

func newMisses(now func() time.Time) *misses {
	return &misses{now: now, ask: rate.NewLimiter(missRate, 2*missRate), seen: map[[sha256.Size]byte]time.Time{}}
}

func (m *misses) mayAsk() bool { return m.ask.AllowN(m.now(), 1) }

func (m *misses) known(key horde.APIKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.seen[sha256.Sum256([]byte(key))]
	return ok && m.now().Sub(at) < missMemory
}

func (m *misses) add(key horde.APIKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.seen) >= maxMisses {
		clear(m.seen)
	}
	m.seen[sha256.Sum256([]byte(key))] = m.now()
}
