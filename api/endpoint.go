package api

import (
	"net/http"
	"time"
)

// An Endpoint is a route that the node serves itself: what it tells of the federation, and its
// front page. It gets what all routes get: limits, a bounded body, headers, a 500 instead of a
// panic. Package openapi says what it is for (an Operation with Node set).
type Endpoint struct {
	Method, Path string
	Handler      http.Handler
	Body         int64         // largest body in bytes; 0: 64 kB
	Patience     time.Duration // how long it may take; 0: 30 s
	Page         bool          // for people: pages of other origins may not read it
	Exempt       bool          // from rate limits
}

// endpointRoutes are the node's own routes.
func (s *Server) endpointRoutes() []route {
	var routes []route
	for _, e := range s.cfg.Endpoints {
		rt := route{method: e.Method, path: e.Path, body: e.Body, patience: e.Patience, raw: true, unmasked: true}
		rt.handle = func(w http.ResponseWriter, r *http.Request) error {
			if e.Page {
				forbidOrigins(w.Header())
			}
			e.Handler.ServeHTTP(w, r)
			return nil
		}
		if e.Exempt {
			rt.limits = exempt()
		}
		routes = append(routes, rt)
	}
	return routes
}
