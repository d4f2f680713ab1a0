// Package login lets people in by an account that they have elsewhere: Google, Discord, GitHub
// or any provider that speaks OpenID Connect. It is the side of the client: it makes the
// address to send a browser to, and turns what the browser comes back with into an Identity.
//
//	browser            this node                           provider
//	   |-- log in ------->| Begin: state, PKCE, nonce          |
//	   |<- 303 -----------| (the Attempt goes into a sealed cookie)
//	   |-- state, challenge, nonce ----------------------------->|
//	   |<- 303 back to <public-url>/login/<name>/callback -------|
//	   |-- code, state -->| Finish: compare state and issuer   |
//	   |                  |-- code, verifier, secret ---------->|
//	   |                  |<- ID token, or an access token -----|
//	   |                  | verify signature, issuer, audience, time and nonce,
//	   |                  | or ask the provider who this is
//	   |<- session -------| Identity{"g_1234"}
//
// An Identity is bound to the provider's number for the person, never to an e-mail address,
// which can change hands. The package keeps nothing of people: what is remembered between
// Begin and Finish is the Attempt, which its caller seals. Package api has the pages, the
// ledger has the salted hash of the identity.
//
// All calls go through the http.Client it is given, which should be one that refuses private
// addresses (internal/outbound) and follows no redirects: the secret goes where it was meant to.
// ID tokens are verified by go-oidc and go-jose, in the three algorithms that providers use and
// with keys that are read and kept here (idtoken.go, discovery.go); tokens without a signature,
// or with a shared secret as the key, are refused.
package login
