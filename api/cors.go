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

// forbidOrigins takes back what allowOrigins allows.
func forbidOrigins(h http.Header) {
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers"} {
		h.Del(name)
	}
}

// tellCaches says what of an answer may be kept on its way: with a key or a session it is its
// owner's alone, and it depends on the mask. A handler whose answer is for everybody says so
// itself.
func tellCaches(h http.Header, r *http.Request) {
	h.Set("Vary", "apikey, X-Fields")
	if _, ok := apikey(r); ok || r.Header.Get("Cookie") != "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Cache-Control", "private, no-store")
	}
}
