package openapi

// pageOperations are the pages for people behind a login: accounts, teams and the console of
// moderators. Each form answers with a redirect to a page, or with the page and what was wrong.
func pageOperations() []Operation {
	csrf := need("csrf", str())
	key := has("apikey", str())
	get := func(path, id, summary string) Operation {
		return Operation{Method: "GET", Path: path, ID: id, Summary: summary, Media: pageMedia}
	}
	post := func(path, id, summary string, fields ...Member) Operation {
		return Operation{Method: "POST", Path: path, ID: id, Summary: summary, Media: pageMedia, Body: object(append(fields, csrf)...), Form: true, Fails: []int{400, 401, 403}}
	}
	return []Operation{
		post("/login/{provider}", "post_login", "Leads a browser to a provider to log in with.", has("do", str().oneOf("", "link", "again")), has("next", str()), key),
		{Method: "GET", Path: "/login/{provider}/callback", ID: "get_login_callback", Summary: "Where a provider leads a browser back to.", Media: pageMedia,
			Query: []Member{need("state", str()), has("code", str()), has("iss", str()), has("error", str())}, Fails: []int{403, 503}},
		get("/register/login", "get_register_login", "Page to choose the name of a new account with a login."),
		post("/register/login", "post_register_login", "Makes an account with a login.", need("username", str().from(1).to(30))),
		get("/profile/settings", "get_settings", "Page of your account's settings."),
		post("/profile/settings", "post_settings", "Changes your name, contact and whether your workers are shown as yours.", need("username", str()), has("contact", str()), has("public_workers", str())),
		post("/profile/unlink", "post_unlink", "Takes the login away from your account.", key),
		post("/profile/delete", "post_delete_account", "Deletes your account.", need("really", str()), key),
		post("/profile/undelete", "post_undelete_account", "Takes your deleted account back."),
		{Method: "GET", Path: "/profile/statement", ID: "get_statement_page", Summary: "Page with the last movements of your kudos.", Media: pageMedia, Query: []Member{has("before", integer())}},
		get("/profile/keys", "get_keys_page", "Page of your shared keys."),
		post("/profile/keys", "post_keys_page", "Makes a shared key.", has("name", str()), has("kudos", integer()), has("days", integer()), has("pixels", integer()), has("steps", integer()), has("tokens", integer())),
		post("/profile/keys/delete", "post_keys_page_delete", "Deletes a shared key.", need("id", str())),
		get("/teams", "get_teams_page", "Page of the teams."),
		post("/teams", "post_teams_page", "Founds a team.", need("name", str()), has("info", str())),
		get("/teams/{team_id}", "get_team_page", "Page of a team."),
		post("/teams/{team_id}", "post_team_page", "Changes a team.", need("name", str()), has("info", str())),
		post("/teams/{team_id}/delete", "post_team_page_delete", "Deletes a team.", need("really", str())),
		post("/teams/{team_id}/worker", "post_team_page_worker", "Brings a worker of yours into a team, or out of it.", need("worker", str())),
		{Method: "GET", Path: "/moderation", ID: "get_moderation_page", Summary: "Page to find users, for moderators.", Media: pageMedia, Query: []Member{has("find", str()), has("page", integer())}},
		get("/moderation/users/{user_id}", "get_moderation_user", "Page of a user, for moderators."),
		post("/moderation/users/{user_id}", "post_moderation_user", "Changes a user.", has("username", str()), has("contact", str()), has("admin_comment", str()), has("concurrency", integer()),
			has("worker_invited", integer()), has("kudos", integer()), has("monthly_kudos", integer()), has("reset_suspicion", str()), key),
		post("/moderation/users/{user_id}/delete", "post_moderation_user_delete", "Deletes a user, or removes what is personal.", need("really", str()), key),
		post("/moderation/users/{user_id}/undelete", "post_moderation_user_undelete", "Takes a deleted user back."),
		{Method: "GET", Path: "/moderation/workers", ID: "get_moderation_workers", Summary: "Page to find workers, for moderators.", Media: pageMedia, Query: []Member{has("find", str())}},
		get("/moderation/workers/{worker_id}", "get_moderation_worker", "Page of a worker, for moderators."),
		post("/moderation/workers/{worker_id}", "post_moderation_worker", "Changes a worker.", has("paused", str()), has("maintenance", str()), has("maintenance_msg", str()), has("name", str()), has("info", str())),
		post("/moderation/workers/{worker_id}/delete", "post_moderation_worker_delete", "Deletes a worker.", need("really", str()), key),
		{Method: "GET", Path: "/moderation/filters", ID: "get_moderation_filters", Summary: "Page of the filters, for moderators.", Media: pageMedia, Query: []Member{has("edit", integer())}},
		post("/moderation/filters", "post_moderation_filters", "Makes or changes a filter.", has("id", integer()), need("regex", str()), need("filter_type", integer()), has("description", str()), has("replacement", str())),
		post("/moderation/filters/delete", "post_moderation_filters_delete", "Deletes a filter.", need("id", integer())),
		post("/moderation/filters/try", "post_moderation_filters_try", "Shows what the filters make of a prompt.", need("prompt", str())),
		{Method: "GET", Path: "/moderation/blocks", ID: "get_moderation_blocks", Summary: "Page of blocked addresses, for moderators.", Media: pageMedia, Query: []Member{has("find", str()), has("worker", str())}},
		post("/moderation/blocks", "post_moderation_blocks", "Keeps an address or network out.", need("ipaddr", str()), need("hours", integer()), has("reason", str()), has("worker", str())),
		post("/moderation/blocks/delete", "post_moderation_blocks_delete", "Lets an address or network in again.", need("ipaddr", str())),
		{Method: "GET", Path: "/moderation/messages", ID: "get_moderation_messages", Summary: "Page of messages to workers, for moderators.", Media: pageMedia, Query: []Member{has("worker", str())}},
		post("/moderation/messages", "post_moderation_messages", "Sends a message to workers.", need("message", str()), has("worker", str()), has("origin", str()), has("hours", integer())),
		post("/moderation/messages/delete", "post_moderation_messages_delete", "Deletes a message.", need("id", str())),
		{Method: "GET", Path: "/moderation/log", ID: "get_moderation_log", Summary: "Page of what moderators did.", Media: pageMedia, Query: []Member{has("before", integer())}},
		post("/moderation/log", "post_moderation_log", "Undoes an act of moderation.", need("number", integer()), key),
		get("/moderation/modes", "get_moderation_modes", "Page of the federation's modes, for moderators."),
		post("/moderation/modes", "post_moderation_modes", "Sets the federation's modes.", has("maintenance", str()), has("invite_only", str()), has("raid", str())),
	}
}
