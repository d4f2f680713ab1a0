package node

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hordenode/api"
	"hordenode/api/web"
	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/webhook"
)

// newAPI makes the REST API of this node.
func (n *Node) newAPI(secret []byte, port string) (*api.Server, error) {
	p, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	return api.New(api.Config{
		NodeName: n.cfg.Name, Port: p, Version: n.cfg.Version,
		PublicURL:      n.cfg.PublicURL,
		BlobSecret:     secret,
		Documents:      os.DirFS(filepath.Join(n.cfg.Data, "documents")), // of the operator; need not be there
		TrustedProxies: n.cfg.TrustedProxies,
		NoRateLimits:   n.cfg.NoRateLimits,
		TestAPIKeys:    n.cfg.TestAPIKeys,
		Now:            time.Now,
		Log:            n.log.With("part", "api"),
	}, api.Deps{
		Accounts:  n.ledger,
		Registry:  registry{n.ledger},
		Community: community{n.ledger},
		Board:     n.exchange,
		Live:      n.exchange,
		Models:    n.models,
		Pricing:   n.prices,
		Requirements: func(model string) api.Requirements {
			return api.Requirements(n.models.Requirements(model))
		},
		Watch: n.exchange,
		NSFW:  n.isNSFW,
		SuspectPrompt: func(ctx context.Context, u horde.UserID) error {
			return n.ledger.SuspectUser(ctx, u, ledger.SuspicionCorruptPrompt)
		},
		Outbound:         n.downloads(),
		WebhookSecret:    func(u horde.UserID) string { return webhook.Secret(secret, u) },
		Addresses:        n.addresses,
		AddressElsewhere: n.addressElsewhere,
	})
}

// handler is all that the node serves over HTTP: the API, what hordenode adds to it under
// /api/fed/v1, and the page at /. When ctx ends, so do the page's event streams, which
// would otherwise keep the node from stopping.
func (n *Node) handler(ctx context.Context) http.Handler {
	fed := http.NewServeMux()
	fed.HandleFunc("POST "+pathJoin, n.serveJoin)
	fed.HandleFunc("GET /api/fed/v1/nodes", n.serveNodes)
	fed.HandleFunc("GET /api/fed/v1/members", n.serveMembers)
	fed.HandleFunc("GET /api/fed/v1/ledger/head", n.serveHead)
	page, rest := web.Handler(n), n.api.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.Path; {
		case p == pathJoin, p == "/api/fed/v1/nodes", p == "/api/fed/v1/members", p == "/api/fed/v1/ledger/head":
			w.Header().Set("Access-Control-Allow-Origin", "*")
			fed.ServeHTTP(w, r)
		case p == "/", strings.HasPrefix(p, "/assets/"), p == "/api/fed/v1/overview", p == "/api/fed/v1/events":
			until, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			page.ServeHTTP(w, r.WithContext(until))
		default:
			if p == "/api/v2/status/heartbeat" && !n.isReady() {
				writeError(w, http.StatusServiceUnavailable, "This node is not ready yet.")
				return
			}
			if n.refusesWork(w, r) {
				return
			}
			if waits(r) {
				until, cancel := context.WithCancel(r.Context())
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				r = r.WithContext(until)
			}
			rest.ServeHTTP(w, r)
		}
	})
}

// waits tells whether a request to the API may take long on purpose: it ends when the node
// stops.
func waits(r *http.Request) bool {
	return strings.Contains(r.URL.RawQuery, "wait=") || strings.HasSuffix(r.URL.Path, "/events")
}

func (n *Node) isReady() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}
