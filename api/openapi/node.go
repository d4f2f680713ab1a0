package openapi

const pageMedia = "text/html"

// nodeOperations are what hordenode adds to the AI Horde API: blobs, accounts, pages.
func nodeOperations() []Operation {
	page := func(method, path, id, summary string) Operation {
		return Operation{Method: method, Path: path, ID: id, Summary: summary, Media: pageMedia}
	}
	filled := func(o Operation, fields ...Member) Operation {
		o.Body, o.Form, o.Fails = object(fields...), true, []int{400, 403}
		return o
	}
	csrf := need("csrf", str())
	return append([]Operation{
		{Method: "GET", Path: "/api/fed/v1/blob/{name}", ID: "get_blob", Summary: "An image, at an address that an answer named.",
			Query: []Member{need("exp", integer()), need("sig", str())}, Media: "image/webp", Fails: []int{403, 404}},
		{Method: "PUT", Path: "/api/fed/v1/blob/{name}", ID: "put_blob", Summary: "Uploads an image to an address that a job named.",
			Query: []Member{need("exp", integer()), need("sig", str())}, Fails: []int{403, 404, 413}},
		{Method: "POST", Path: "/api/v2/dev/test-user", ID: "post_test_user", Summary: "Makes an account for tests, where the operator allows it.",
			Body: object(has("username", str()), has("oauth_id", str()), has("moderator", flag()), has("trusted", flag()), has("kudos", integer())),
			Answer: object(need("api_key", str()), need("user_id", str()), need("username", str()), need("alias", str()), need("kudos", num()),
				need("trusted", flag()), need("moderator", flag()), need("created", flag())), Fails: []int{400, 403, 404}},
		{Method: "GET", Path: "/api/fed/v1/generate/{id}/events", ID: "get_generate_events", Summary: "What happens to a request of yours, as it happens: Server-Sent Events with the answer of check.",
			Media: "text/event-stream", Fails: []int{404}},
		{Method: "GET", Path: "/api/fed/v1/webhook/secret", ID: "get_webhook_secret", Summary: "The secret that this node signs webhooks about your requests with.",
			Key: MustKey, Answer: object(need("secret", str())), Fails: []int{401, 403, 404}},
		{Method: "POST", Path: "/api/fed/v1/join", ID: "post_join", Summary: "Admits a node that has an invitation; both sides sign.", Node: true, Fails: []int{403, 413, 503}},
		{Method: "GET", Path: "/api/fed/v1/nodes", ID: "get_nodes", Summary: "The nodes to choose from: where they are, what they take part in, how busy they are.", Node: true, Answer: list(ref("FederationNode"))},
		{Method: "GET", Path: "/api/fed/v1/members", ID: "get_members", Summary: "All nodes that ever joined the federation.", Node: true, Answer: list(ref("FederationMember"))},
		{Method: "GET", Path: "/api/fed/v1/ledger/head", ID: "get_ledger_head", Summary: "Where the ledger of this node stood at its last tick, signed, to compare with others; and how far it is now.", Node: true,
			Answer: object(append(signedHead(), need("applied_index", integer()), need("chain_head", str()), need("staleness_ms", integer()))...)},
		{Method: "GET", Path: "/api/fed/v1/overview", ID: "get_overview", Summary: "What the front page shows: the federation as this node sees it.", Node: true, Answer: object(), Fails: []int{500}},
		{Method: "GET", Path: "/api/fed/v1/events", ID: "get_events", Summary: "The overview as it changes: Server-Sent Events.", Node: true, Media: "text/event-stream", Fails: []int{503}},
		{Method: "GET", Path: "/", ID: "get_front_page", Summary: "The front page.", Node: true, Media: pageMedia},
		{Method: "GET", Path: "/assets/{name}", ID: "get_asset", Summary: "A file that pages need.", Node: true, Media: "application/octet-stream", Fails: []int{404}},
		{Method: "GET", Path: "/api/swagger.json", ID: "get_swagger", Summary: "This description in Swagger 2.0."},
		{Method: "GET", Path: "/api/openapi.json", ID: "get_openapi", Summary: "This description in OpenAPI 3.1."},
		{Method: "GET", Path: "/.well-known/serviceinfo", ID: "get_serviceinfo", Summary: "Names the software and where its API is."},
		page("GET", "/api", "get_documentation_moved", "Leads to the documentation."),
		page("GET", "/api/", "get_documentation", "This documentation, to read."),
		page("GET", "/register", "get_register", "Page to make an account."),
		{Method: "POST", Path: "/register", ID: "post_register", Summary: "Makes an account and shows its API key, this once. Programs that accept JSON get JSON and need no csrf.",
			Body: object(need("username", str().from(1).to(30)), has("csrf", str())), Form: true,
			Answer: object(need("api_key", str()), need("alias", str())), Fails: []int{400, 403}},
		page("GET", "/profile", "get_profile", "Page of your account; asks for the API key first."),
		filled(page("POST", "/profile", "post_profile", "Logs a browser in."), need("apikey", str()), csrf),
		filled(page("POST", "/profile/key", "post_profile_key", "Replaces your API key and shows the new one, this once."), need("apikey", str()), csrf),
		filled(page("POST", "/profile/logout", "post_profile_logout", "Logs a browser out."), csrf),
		page("GET", "/transfer", "get_transfer", "Page to send kudos."),
		filled(page("POST", "/transfer", "post_transfer", "Sends kudos from a browser."), need("username", str()), need("amount", integer().from(1)), has("apikey", str()), need("once", str()), csrf),
		{Method: "GET", Path: "/leaderboard", ID: "get_leaderboard", Summary: "Page of the users with the most kudos.", Media: pageMedia,
			Query: []Member{has("page", integer().def(1)), has("sort", str().oneOf("kudos", "age").def("kudos"))}},
		page("GET", "/workers", "get_workers_page", "Page of the workers that are online."),
		page("GET", "/terms", "get_terms", "Page with the terms of use."),
		page("GET", "/privacy", "get_privacy", "Page with the privacy policy."),
		page("GET", "/sponsors", "get_sponsors", "Page with the sponsors."),
		page("GET", "/news", "get_news_page", "Page with the news."),
	}, pageOperations()...)
}

// nodeModels are the models of what hordenode adds.
func nodeModels() []Model {
	kinds := func() Shape { return list(str().oneOf("image", "text", "alchemy")) }
	return []Model{
		define("FederationNode",
			need("id", str()), need("name", str()), need("url", str()), need("region", str()), need("role", str().oneOf("leader", "voter", "learner", "joining")),
			need("version", str()), need("self", flag()), need("connected", flag()), need("rtt_ms", num()), need("load", num()),
			need("workers", integer()), need("requests", integer()), need("policy", ref("FederationPolicy")),
		),
		define("FederationMember",
			need("id", str()), need("name", str()), need("role", str()), need("voter", flag()), need("active", flag()), need("url", str()),
			need("addrs", list(str())), need("rtt_ms", num()), need("connected", flag()), has("ledger_version", integer()),
			need("version", str()), need("region", str()), need("load", num()), need("policy", ref("FederationPolicy")), need("joined", str().form("date-time")),
		),
		define("FederationPolicy",
			has("accept_kinds", kinds()), has("serve_kinds", kinds()), has("no_nsfw", flag()), has("only_models", list(str())),
			has("own_users", str().oneOf("first", "only")), has("min_trust", str().oneOf("registered", "trusted")), has("exclude", list(str())),
		),
	}
}
