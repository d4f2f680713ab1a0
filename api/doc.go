// Package api serves the AI Horde REST API v2: its JSON outside, horde types inside.
//
//	request ─► cors, panics ─► route ─► limits ─► body ─► schema ─► handler ─► mask ─► JSON
//	             cors.go      server.go limit.go  body.go   schema.go  decode.go  mask.go encode.go
//
// It decides nothing about kudos, workers or jobs: accounts are the ledger's (Accounts),
// requests and jobs the exchange's (Board), prices and models are asked for (Pricing,
// Models). Deps lists them all. What a refusal is called is decided where it is refused;
// which HTTP status that becomes is one table, in errors.go.
//
// Teams, shared keys, styles, collections, messages and filters are the community's: their
// part of the ledger is Community, in community.go, and each has a file of its own. What the
// filters make of a prompt is decided in promptscore.go.
//
// Reading order: server.go, errors.go, schema.go, body.go, decode.go, change.go, then order.go with image.go and
// text.go for requests (orderstyle.go and orderkey.go for what styles and shared keys make of
// them, promptrules.go for prompts), imagepop.go for workers, blob.go for images, wait.go for
// clients that wait and webhook.go for those that are told.
//
// # How to add an endpoint
//
// One file per resource, with its routes, schemas, DTOs and handlers:
//
//	func (s *Server) kudosRoutes() []route {
//		return []route{
//			{method: "POST", path: "/api/v2/kudos/transfer", handle: s.transferKudos,
//				limits: []limit{{n: 1, per: time.Second, by: byKey}}},
//		}
//	}
//
//	type transferRequest struct{ Username string; Amount float64 }
//
//	func (q *transferRequest) read(a *args) {
//		a.apikey()                                    // required header, first
//		q.Username = a.need("username").str("username", 100)
//		q.Amount = a.need("amount").number("amount", 0)
//	}
//
//	func (s *Server) transferKudos(w http.ResponseWriter, r *http.Request) error {
//		var q transferRequest
//		if err := decode(r, &q); err != nil {
//			return err
//		}
//		from, err := s.user(r)
//		if err != nil {
//			return err
//		}
//		...
//		return encode(w, http.StatusOK, transferResponse{Transferred: q.Amount})
//	}
//
// and its name in Server.routes (routes.go), and what it is for in package openapi
// (operations.go; node.go for what is not the reference's): a test asks for it. Bodies with a
// schema are described by it; /api/swagger.json, /api/openapi.json and /api/ follow.
//
// Routes. path is a net/http pattern without method ("/api/v2/users/{user_id}", read with
// r.PathValue); literal segments win over wildcards. GET also serves HEAD; OPTIONS, 404,
// 405 and their bodies are the frame's. limits nil means 90 a minute by address, shared by
// the methods of the path; exempt() means none. body is the largest body in bytes (64 kB
// unless set). schema, if set, makes the endpoint "validated" (spec/moderation.md 1.3): the
// body must be JSON and fit, or the answer is 400 with all violations; else the handler
// runs. See type schema for how one is written. Without schema a missing or broken body
// counts as empty (1.4). Bodies of GET and DELETE are read like any other. unmasked
// endpoints ignore X-Fields; raw ones read the body themselves. A handler has 30 s, or its route's patience if that is more.
//
// Decoding. decode(r, &q) calls q.read with the arguments; the first failing one is the
// answer (400 with errors). Getters of args convert leniently (int("12") is 12) but never
// take "false" for true. null counts as absent. The opt... getters tell absent from zero;
// a.within and a.objects go into objects. a.query and a.queryInt read the query string.
// Declare arguments in the reference's order. Every string and list has a maximum.
//
// Who asks. s.user(r): header missing is 400, unknown key 401 InvalidAPIKey, after the miss
// was confirmed with the other nodes. s.optionalUser(r): the header may be missing. What
// else may have been made at another node a moment ago is looked up, then s.confirmMiss,
// then looked up again before it is a 404.
// s.clientIP(r) is the peer's address, behind trusted proxies the forwarded one.
// clientAgent(r) reads Client-Agent or client_agent.
//
// Answers. encode(w, status, v) writes v with its fields in order, masked by X-Fields, and
// one newline. Nulls: a pointer without omitempty is null when nil; `json:",omitempty"` or
// `json:",omitzero"` leaves the key out; make slices non-nil where [] is wanted. Kudos
// become decimals in numbers.go. Nothing may be written before an error is returned.
//
// Errors. Return horde.Refuse(rc, ...), or what a Deps method returned. withStatus(400, err)
// overrides the table for the few codes that have two statuses. invalid(field, text) is a
// validation error, plain(status, text) an answer with a message only. Any other error is
// logged and becomes 500 without detail.
package api
