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
	providers, err := n.openLogins()
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
		Limits:         n.limits,
		Endpoints:      n.endpoints(),
		TestAPIKeys:    n.cfg.TestAPIKeys,
		Now:            time.Now,
		Log:            n.log.With("part", "api"),
	}, api.Deps{
		Accounts:  n.ledger,
		Registry:  registry{n.ledger},
		Community: community{n.ledger},
		Book:      shown{n},
		Board:     n.exchange,
		Live:      n.exchange,
		Models:    n.models,
		Pricing:   n.prices,
		Requirements: func(model string) api.Requirements {
			return api.Requirements(n.models.Requirements(model))
		},
		Watch: n.exchange, Totals: n.exchange.Totals,
		NSFW: n.isNSFW,
		SuspectPrompt: func(ctx context.Context, u horde.UserID) error {
			return n.ledger.SuspectUser(ctx, u, ledger.SuspicionCorruptPrompt)
		},
		Blocks:   blocks{n.ledger},
		Passkey:  n.ledger.UserByPasskey,
		UnsafeIP: n.unsafeIP(),
		SuspectWorker: func(ctx context.Context, w horde.WorkerID) error {
			return n.ledger.SuspectWorker(ctx, w, ledger.SuspicionUnsafeIP)
		},
		Outbound:         n.downloads(),
		Presign:          n.presign(),
		WebhookSecret:    func(u horde.UserID) string { return webhook.Secret(secret, u) },
		Addresses:        n.addresses,
		Providers:        providers,
		Logins:           logins{n.ledger},
		AddressElsewhere: n.addressElsewhere,
	})
}

// endpoints are what the node itself serves: what hordenode adds to the API under /api/fed/v1,
// and the front page.
func (n *Node) endpoints() []api.Endpoint {
	page := web.Handler(n)
	return []api.Endpoint{
		{Method: "POST", Path: pathJoin, Handler: http.HandlerFunc(n.serveJoin), Body: maxJoinSize},
		{Method: "GET", Path: "/api/fed/v1/nodes", Handler: http.HandlerFunc(n.serveNodes)},
		{Method: "GET", Path: "/api/fed/v1/members", Handler: http.HandlerFunc(n.serveMembers)},
		{Method: "GET", Path: "/api/fed/v1/ledger/head", Handler: http.HandlerFunc(n.serveHead)},
		{Method: "GET", Path: "/api/fed/v1/overview", Handler: page},
		{Method: "GET", Path: "/api/fed/v1/events", Handler: page, Patience: longestStream},
		{Method: "GET", Path: "/{$}", Handler: page, Page: true},
		{Method: "GET", Path: "/assets/{name}", Handler: page, Page: true, Exempt: true},
	}
}

// longestStream is how long somebody may watch the overview before their browser has to ask
// again, which it does by itself.
const longestStream = 2 * time.Hour

// handler is all that the node serves over HTTP. When ctx ends, so do the requests that wait,
// which would otherwise keep the node from stopping.
func (n *Node) handler(ctx context.Context) http.Handler {
	rest := n.api.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v2/status/heartbeat" && !n.isReady() {
			w.Header().Set("Retry-After", "1")
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
