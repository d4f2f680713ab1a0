package api

import "net/http"

// allowOrigins lets pages of any origin use the API: it looks at no cookie, so there is
// nothing that a foreign page could borrow (spec/moderation.md section 4). Pages for people,
// which do, take it back (pageHeaders).
func allowOrigins(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE, PATCH")
	h.Set("Access-Control-Allow-Headers", "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, apikey, Client-Agent, X-Fields, X-Forwarded-For, Proxied-For, Proxy-Authorization")
}
