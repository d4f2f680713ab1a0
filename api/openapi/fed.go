package openapi

// fedOperations are what a federation shows of its ledger.
func fedOperations() []Operation {
	paging := []Member{has("before", integer().from(1)), has("limit", integer().from(1).to(200).def(50))}
	hex, when, next := str().eg("9c2f…"), str().form("date-time"), has("next", integer())
	head := object(signedHead()...)
	return []Operation{
		{Method: "GET", Path: "/api/fed/v1/proof/{user}", ID: "get_proof", Summary: "Proof that an account is among those that the ledger's head stands for, to be checked offline (hordenode ledger verify --proof).",
			Key: MayKey, Answer: object(need("format", str()), need("head", head), need("user", integer()), need("kudos_hundredths", integer()),
				need("commitment", hex), has("private", object(need("escrow_hundredths", integer()), need("held_hundredths", integer()), need("blind", hex))),
				need("path", list(hex))), Fails: []int{404, 503}},
		{Method: "GET", Path: "/api/fed/v1/statement", ID: "get_statement", Summary: "Every movement of your kudos with its reason, newest first.",
			Key: MustKey, Query: paging, Answer: object(need("user", str()), need("entries", list(object(need("number", integer()), need("at", when),
				need("amount", num()), need("escrow", flag()), need("reason", str()), has("kind", str()), has("with", str()), has("request", str()),
				has("reverses", integer()), need("balance_after", num()), need("escrow_after", num())))), next), Fails: []int{400, 401, 403}},
		{Method: "POST", Path: "/api/fed/v1/kudos/transfers", ID: "post_kudos_transfers",
			Summary: "Sends kudos of yours to up to 1000 users; each transfer is made or refused for itself, a repeated idempotency_key is answered as the first was.",
			Key:     MustKey, Body: object(need("transfers", list(object(need("username", str()), need("amount", integer()), has("idempotency_key", str()))))),
			Answer: object(need("transferred", num()), need("results", list(object(need("transferred", num()), has("rc", str()), has("message", str()))))), Fails: []int{400, 401, 503}},
		{Method: "GET", Path: "/api/fed/v1/kudos/balance", ID: "get_kudos_balance", Summary: "Your kudos as this node knows them; with fresh=true not older than the question.",
			Key: MustKey, Query: []Member{has("fresh", flag())}, Answer: object(need("user", str()), need("kudos", num()), need("available", num())), Fails: []int{400, 401, 503}},
		{Method: "GET", Path: "/api/fed/v1/moderation", ID: "get_moderation", Summary: "What moderators, admins and operators did and why, newest first, without names of those it was done to.",
			Query: paging, Answer: object(need("acts", list(object(need("number", integer()), need("at", when), need("actor", str()), need("node", str()), need("action", str()),
				need("target", str()), need("reason", str()), has("until", when)))), next), Fails: []int{400}},
	}
}

// signedHead is where the ledger stood at its last tick, signed by a node.
func signedHead() []Member {
	hex := str().eg("9c2f…")
	return []Member{
		need("federation", hex), need("epoch", integer()), need("index", integer()), need("time", str().form("date-time")), need("chain", hex),
		need("state_hash", hex), need("accounts", integer()), need("accounts_root", hex),
		need("node", str()), need("public_key", hex), need("signature", hex),
	}
}
