package openapi

import "slices"

// Operations says what each endpoint is for, group by group. Endpoints that this node does not
// serve may be among them: package api takes those that it has routes for.
func Operations() []Operation {
	return slices.Concat(
		tagged("Images", imagesOperations()),
		tagged("Text", textOperations()),
		tagged("Alchemy", alchemyOperations()),
		tagged("Users", usersOperations()),
		tagged("Workers", workersOperations()),
		tagged("Teams", teamsOperations()),
		tagged("Shared keys", sharedKeysOperations()),
		tagged("Kudos", kudosOperations()),
		tagged("Styles", stylesOperations()),
		tagged("Status", statusOperations()),
		tagged("Statistics", statisticsOperations()),
		tagged("Documents", documentsOperations()),
		tagged("Filters", filtersOperations()),
		tagged("Operations", operationsOperations()),
		tagged("This node", nodeOperations()),
		tagged("Federation", fedOperations()),
	)
}

// tagged puts operations into a group.
func tagged(tag string, ops []Operation) []Operation {
	for i := range ops {
		ops[i].Tag = tag
	}
	return ops
}

// waits is the parameter of those that answer later if that is wanted.
func waits() []Member { return []Member{has("wait", num())} }

func imagesOperations() []Operation {
	return []Operation{
		{Method: "POST", Path: "/api/v2/generate/async", ID: "post_image_async_generate",
			Summary: "Asks for images; the answer names the request to come back for.",
			Key:     MustKey, Agent: true, Headers: []Member{has("Idempotency-Key", str())}, Body: ref("GenerationInputStable"), Status: 202, Answer: ref("RequestAsync"), Fails: []int{400, 401, 429, 503}},
		{Method: "GET", Path: "/api/v2/generate/check/{id}", ID: "get_image_async_check",
			Summary: "Tells how far an image request is, without its images. Ask here while you wait.",
			Agent:   true, Query: waits(), Answer: ref("RequestStatusCheck"), Fails: []int{404}},
		{Method: "POST", Path: "/api/v2/generate/pop", ID: "post_image_job_pop",
			Summary: "Gives an image worker its next job.",
			Key:     MustKey, Body: ref("PopInputStable"), Query: waits(), Answer: ref("GenerationPayloadStable"), Fails: []int{400, 401, 403}},
		{Method: "POST", Path: "/api/v2/generate/rate/{id}", ID: "post_aesthetics",
			Summary: "Rates the images of a finished request that was shared.",
			Agent:   true, Body: ref("AestheticsPayload"), Answer: ref("GenerationSubmitted"), Fails: []int{400, 401, 404}},
		{Method: "DELETE", Path: "/api/v2/generate/status/{id}", ID: "delete_image_async_status",
			Summary: "Cancels an image request and returns what is finished.",
			Agent:   true, Answer: ref("RequestStatusStable"), Fails: []int{404}},
		{Method: "GET", Path: "/api/v2/generate/status/{id}", ID: "get_image_async_status",
			Summary: "Shows an image request with its finished images.",
			Agent:   true, Query: waits(), Answer: ref("RequestStatusStable"), Fails: []int{404}},
		{Method: "POST", Path: "/api/v2/generate/submit", ID: "post_image_job_submit",
			Summary: "Delivers the image of a job.",
			Key:     MustKey, Body: ref("SubmitInputStable"), Answer: ref("GenerationSubmitted"), Fails: []int{400, 401, 403, 404}},
	}
}

func textOperations() []Operation {
	return []Operation{
		{Method: "POST", Path: "/api/v2/generate/text/async", ID: "post_text_async_generate",
			Summary: "Asks for texts; the answer names the request to come back for.",
			Key:     MustKey, Agent: true, Headers: []Member{has("Idempotency-Key", str())}, Body: ref("GenerationInputKobold"), Status: 202, Answer: ref("RequestAsync"), Fails: []int{400, 401, 429, 503}},
		{Method: "POST", Path: "/api/v2/generate/text/pop", ID: "post_text_job_pop",
			Summary: "Gives a text worker its next job.",
			Key:     MustKey, Body: ref("PopInputKobold"), Query: waits(), Answer: ref("GenerationPayloadKobold"), Fails: []int{400, 401, 403}},
		{Method: "DELETE", Path: "/api/v2/generate/text/status/{id}", ID: "delete_text_async_status",
			Summary: "Cancels a text request and returns what is finished.",
			Agent:   true, Answer: ref("RequestStatusKobold"), Fails: []int{404}},
		{Method: "GET", Path: "/api/v2/generate/text/status/{id}", ID: "get_text_async_status",
			Summary: "Shows a text request with its finished texts.",
			Agent:   true, Query: waits(), Answer: ref("RequestStatusKobold"), Fails: []int{404}},
		{Method: "POST", Path: "/api/v2/generate/text/submit", ID: "post_text_job_submit",
			Summary: "Delivers the text of a job.",
			Key:     MustKey, Body: ref("SubmitInputKobold"), Answer: ref("GenerationSubmitted"), Fails: []int{400, 401, 403, 404}},
	}
}

func alchemyOperations() []Operation {
	return []Operation{
		{Method: "POST", Path: "/api/v2/interrogate/async", ID: "post_interrogate",
			Summary: "Asks for work on an image: a caption, an interrogation, post-processing.",
			Key:     MustKey, Agent: true, Body: ref("ModelInterrogationInputStable"), Status: 202, Answer: ref("RequestInterrogationResponse"), Fails: []int{400, 401, 429, 503}},
		{Method: "POST", Path: "/api/v2/interrogate/pop", ID: "post_interrogate_pop",
			Summary: "Gives an alchemist its next forms.",
			Key:     MustKey, Body: ref("InterrogationPopInput"), Query: waits(), Answer: ref("InterrogationPopPayload"), Fails: []int{400, 401, 403}},
		{Method: "DELETE", Path: "/api/v2/interrogate/status/{id}", ID: "delete_interrogation_status",
			Summary: "Cancels an alchemy request and returns what is finished.",
			Agent:   true, Answer: ref("InterrogationStatus"), Fails: []int{404}},
		{Method: "GET", Path: "/api/v2/interrogate/status/{id}", ID: "get_interrogation_status",
			Summary: "Shows an alchemy request with its results.",
			Agent:   true, Query: waits(), Answer: ref("InterrogationStatus"), Fails: []int{404}},
		{Method: "POST", Path: "/api/v2/interrogate/submit", ID: "post_interrogate_submit",
			Summary: "Delivers the result of a form.",
			Key:     MustKey, Body: object(has("id", str()), has("result", str()), has("state", str())), Answer: ref("GenerationSubmitted"), Fails: []int{400, 401, 403, 404}},
	}
}

func usersOperations() []Operation {
	return []Operation{
		{Method: "GET", Path: "/api/v2/find_user", ID: "get_find_user",
			Summary: "Shows the account that the API key belongs to.",
			Key:     MayKey, Agent: true, Answer: ref("UserDetails"), Fails: []int{400, 404}},
		{Method: "GET", Path: "/api/v2/users", ID: "get_users",
			Summary: "Lists users by kudos or by age, 25 to a page.",
			Agent:   true, Query: []Member{has("page", integer().def(1)), has("sort", str().def("kudos"))}, Answer: list(ref("UserDetails"))},
		{Method: "DELETE", Path: "/api/v2/users/{user_id}", ID: "delete_user_single",
			Summary: "Deletes an account.",
			Key:     MustKey, Agent: true, Answer: ref("SimpleResponse"), Fails: []int{401, 403, 404}},
		{Method: "GET", Path: "/api/v2/users/{user_id}", ID: "get_user_single",
			Summary: "Shows a user.",
			Key:     MayKey, Agent: true, Answer: ref("UserDetails"), Fails: []int{401, 404}},
		{Method: "PUT", Path: "/api/v2/users/{user_id}", ID: "put_user_single",
			Summary: "Changes an account: your own, or any as a moderator.",
			Key:     MustKey, Agent: true, Body: ref("ModifyUserInput"), Answer: ref("ModifyUser"), Fails: []int{400, 401, 403, 404}},
	}
}

func workersOperations() []Operation {
	return []Operation{
		{Method: "GET", Path: "/api/v2/workers", ID: "get_workers",
			Summary: "Lists the workers that are online.",
			Key:     MayKey, Agent: true, Query: []Member{has("type", str()), has("name", str())}, Answer: list(ref("WorkerDetails"))},
		{Method: "GET", Path: "/api/v2/workers/messages", ID: "get_worker_messages",
			Summary: "Lists messages to workers.",
			Key:     MustKey, Agent: true, Query: []Member{has("user_id", str()), has("worker_id", str()), has("validity", str().def("active")), has("page", integer().def(1))}, Answer: list(ref("ResponseModelMessage")), Fails: []int{401, 403, 404}},
		{Method: "POST", Path: "/api/v2/workers/messages", ID: "post_worker_messages",
			Summary: "Sends a message to a worker.",
			Key:     MustKey, Agent: true, Body: ref("ResponseModelMessage"), Answer: ref("ResponseModelMessage"), Fails: []int{401, 403, 404}},
		{Method: "DELETE", Path: "/api/v2/workers/messages/{message_id}", ID: "delete_single_worker_message",
			Summary: "Deletes a message.",
			Key:     MustKey, Agent: true, Answer: ref("SimpleResponse")},
		{Method: "GET", Path: "/api/v2/workers/messages/{message_id}", ID: "get_single_worker_message",
			Summary: "Shows a message to a worker.",
			Agent:   true, Answer: ref("ResponseModelMessage")},
		{Method: "GET", Path: "/api/v2/workers/name/{worker_name}", ID: "get_worker_single_name",
			Summary: "Shows a worker by its name.",
			Key:     MayKey, Agent: true, Answer: ref("WorkerDetails"), Fails: []int{401, 403, 404}},
		{Method: "DELETE", Path: "/api/v2/workers/{worker_id}", ID: "delete_worker_single",
			Summary: "Deletes a worker.",
			Key:     MayKey, Agent: true, Answer: ref("DeletedWorker"), Fails: []int{401, 403, 404}},
		{Method: "GET", Path: "/api/v2/workers/{worker_id}", ID: "get_worker_single",
			Summary: "Shows a worker.",
			Key:     MayKey, Agent: true, Answer: ref("WorkerDetails"), Fails: []int{401, 403, 404}},
		{Method: "PUT", Path: "/api/v2/workers/{worker_id}", ID: "put_worker_single",
			Summary: "Changes a worker: its owner, or a moderator.",
			Key:     MustKey, Agent: true, Body: ref("ModifyWorkerInput"), Answer: ref("ModifyWorker"), Fails: []int{400, 401, 403, 404}},
	}
}

func teamsOperations() []Operation {
	return []Operation{
		{Method: "GET", Path: "/api/v2/teams", ID: "get_teams",
			Summary: "Lists teams.",
			Agent:   true, Answer: list(ref("TeamDetails"))},
		{Method: "POST", Path: "/api/v2/teams", ID: "post_teams",
			Summary: "Makes a team of workers.",
			Key:     MustKey, Agent: true, Body: ref("CreateTeamInput"), Answer: ref("ModifyTeam"), Fails: []int{400, 401, 403}},
		{Method: "DELETE", Path: "/api/v2/teams/{team_id}", ID: "delete_team_single",
			Summary: "Deletes a team; its workers stay.",
			Key:     MayKey, Agent: true, Answer: ref("DeletedTeam"), Fails: []int{401, 403, 404}},
		{Method: "GET", Path: "/api/v2/teams/{team_id}", ID: "get_team_single",
			Summary: "Shows a team.",
			Key:     MayKey, Agent: true, Answer: ref("TeamDetails"), Fails: []int{401, 403, 404}},
		{Method: "PATCH", Path: "/api/v2/teams/{team_id}", ID: "patch_team_single",
			Summary: "Changes a team.",
			Key:     MayKey, Agent: true, Body: ref("ModifyTeamInput"), Answer: ref("ModifyTeam"), Fails: []int{400, 401, 403, 404}},
	}
}

func sharedKeysOperations() []Operation {
	return []Operation{
		{Method: "PUT", Path: "/api/v2/sharedkeys", ID: "put_shared_key",
			Summary: "Makes a shared key: others may spend your kudos with it, within limits.",
			Key:     MustKey, Agent: true, Body: ref("SharedKeyInput"), Answer: ref("SharedKeyDetails"), Fails: []int{400, 401, 403, 404}},
		{Method: "DELETE", Path: "/api/v2/sharedkeys/{sharedkey_id}", ID: "delete_shared_key_single",
			Summary: "Deletes a shared key.",
			Key:     MustKey, Agent: true, Answer: ref("SimpleResponse"), Fails: []int{404}},
		{Method: "GET", Path: "/api/v2/sharedkeys/{sharedkey_id}", ID: "get_shared_key_single",
			Summary: "Shows a shared key.",
			Agent:   true, Answer: ref("SharedKeyDetails"), Fails: []int{401, 404}},
		{Method: "PATCH", Path: "/api/v2/sharedkeys/{sharedkey_id}", ID: "patch_shared_key_single",
			Summary: "Changes a shared key.",
			Key:     MustKey, Agent: true, Body: ref("SharedKeyInput"), Answer: ref("SharedKeyDetails"), Fails: []int{400, 401, 403, 404}},
	}
}

func kudosOperations() []Operation {
	return []Operation{
		{Method: "POST", Path: "/api/v2/kudos/award", ID: "post_award_kudos",
			Summary: "Gives kudos that come from nobody, for those who may award.",
			Key:     MustKey, Body: object(has("amount", integer()), has("username", str())), Answer: ref("KudosAwarded"), Fails: []int{400, 401, 403}},
		{Method: "POST", Path: "/api/v2/kudos/transfer", ID: "post_transfer_kudos",
			Summary: "Sends kudos of yours to another user.",
			Key:     MustKey, Agent: true, Headers: []Member{has("Idempotency-Key", str())}, Body: object(has("amount", integer()), has("username", str())), Answer: ref("KudosTransferred"), Fails: []int{400, 401}},
	}
}

func stylesOperations() []Operation {
	return []Operation{
		{Method: "GET", Path: "/api/v2/collection_by_name/{collection_name}", ID: "get_single_collection_by_name",
			Summary: "Shows a collection of styles by its name.",
			Agent:   true, Answer: ref("ResponseModelCollection")},
		{Method: "GET", Path: "/api/v2/collections", ID: "get_collection",
			Summary: "Lists collections of styles.",
			Agent:   true, Query: []Member{has("sort", str().def("popular")), has("page", integer().def(1)), has("type", str().def("all"))}, Answer: list(ref("ResponseModelCollection"))},
		{Method: "POST", Path: "/api/v2/collections", ID: "post_collection",
			Summary: "Makes a collection of styles.",
			Key:     MustKey, Agent: true, Body: ref("InputModelCollection"), Answer: ref("StyleModify"), Fails: []int{400, 401}},
		{Method: "DELETE", Path: "/api/v2/collections/{collection_id}", ID: "delete_single_collection",
			Summary: "Deletes a collection; its styles stay.",
			Key:     MustKey, Agent: true, Answer: ref("SimpleResponse"), Fails: []int{400, 401}},
		{Method: "GET", Path: "/api/v2/collections/{collection_id}", ID: "get_single_collection",
			Summary: "Shows a collection of styles.",
			Agent:   true, Answer: ref("ResponseModelCollection")},
		{Method: "PATCH", Path: "/api/v2/collections/{collection_id}", ID: "patch_single_collection",
			Summary: "Changes a collection.",
			Key:     MustKey, Agent: true, Body: ref("InputModelCollection"), Answer: ref("StyleModify"), Fails: []int{400, 401}},
		{Method: "GET", Path: "/api/v2/styles/image", ID: "get_image_style",
			Summary: "Lists image styles.",
			Agent:   true, Query: []Member{has("sort", str().def("popular")), has("page", integer().def(1)), has("tag", str()), has("model", str())}, Answer: list(ref("StyleStable"))},
		{Method: "POST", Path: "/api/v2/styles/image", ID: "post_image_style",
			Summary: "Makes an image style.",
			Key:     MustKey, Agent: true, Body: ref("ModelStyleInputStable"), Answer: ref("StyleModify"), Fails: []int{400, 401}},
		{Method: "DELETE", Path: "/api/v2/styles/image/{style_id}", ID: "delete_single_image_style",
			Summary: "Deletes an image style.",
			Key:     MustKey, Agent: true, Answer: ref("SimpleResponse"), Fails: []int{400, 401}},
		{Method: "GET", Path: "/api/v2/styles/image/{style_id}", ID: "get_single_image_style",
			Summary: "Shows an image style.",
			Agent:   true, Answer: ref("StyleStable")},
		{Method: "PATCH", Path: "/api/v2/styles/image/{style_id}", ID: "patch_single_image_style",
			Summary: "Changes an image style.",
			Key:     MustKey, Agent: true, Body: ref("ModelStylePatchStable"), Answer: ref("StyleModify"), Fails: []int{400, 401}},
		{Method: "POST", Path: "/api/v2/styles/image/{style_id}/example", ID: "post_image_style_example",
			Summary: "Adds an example image to a style.",
			Key:     MustKey, Agent: true, Body: ref("InputStyleExamplePost"), Answer: ref("StyleModify"), Fails: []int{400, 401}},
		{Method: "DELETE", Path: "/api/v2/styles/image/{style_id}/example/{example_id}", ID: "delete_single_image_style_example",
			Summary: "Deletes an example image of a style.",
			Key:     MustKey, Agent: true, Answer: ref("SimpleResponse"), Fails: []int{400, 401}},
		{Method: "PATCH", Path: "/api/v2/styles/image/{style_id}/example/{example_id}", ID: "patch_single_image_style_example",
			Summary: "Changes an example image of a style.",
			Key:     MustKey, Agent: true, Body: ref("InputStyleExamplePost"), Answer: ref("StyleModify"), Fails: []int{400, 401}},
		{Method: "GET", Path: "/api/v2/styles/image_by_name/{style_name}", ID: "get_single_image_style_by_name",
			Summary: "Shows a style by its name.",
			Agent:   true, Answer: ref("StyleStable")},
		{Method: "GET", Path: "/api/v2/styles/text", ID: "get_text_style",
			Summary: "Lists text styles.",
			Agent:   true, Query: []Member{has("sort", str().def("popular")), has("page", integer().def(1)), has("tag", str()), has("model", str())}, Answer: list(ref("StyleKobold"))},
		{Method: "POST", Path: "/api/v2/styles/text", ID: "post_text_style",
			Summary: "Makes a text style.",
			Key:     MustKey, Agent: true, Body: ref("ModelStyleInputKobold"), Answer: ref("StyleModify"), Fails: []int{400, 401}},
		{Method: "DELETE", Path: "/api/v2/styles/text/{style_id}", ID: "delete_single_text_style",
			Summary: "Deletes a text style.",
			Key:     MustKey, Agent: true, Answer: ref("SimpleResponse"), Fails: []int{400, 401}},
		{Method: "GET", Path: "/api/v2/styles/text/{style_id}", ID: "get_single_text_style",
			Summary: "Shows a text style.",
			Agent:   true, Answer: ref("StyleKobold")},
		{Method: "PATCH", Path: "/api/v2/styles/text/{style_id}", ID: "patch_single_text_style",
			Summary: "Changes a text style.",
			Key:     MustKey, Agent: true, Body: ref("ModelStylePatchKobold"), Answer: ref("StyleModify"), Fails: []int{400, 401}},
		{Method: "GET", Path: "/api/v2/styles/text_by_name/{style_name}", ID: "get_single_text_style_by_name",
			Summary: "Shows a style by its name.",
			Agent:   true, Answer: ref("StyleKobold")},
	}
}

func statusOperations() []Operation {
	return []Operation{
		{Method: "GET", Path: "/api/v2/status/heartbeat", ID: "get_heartbeat",
			Summary: "Tells that this node can serve.",
			Agent:   true},
		{Method: "GET", Path: "/api/v2/status/models", ID: "get_models",
			Summary: "Lists the models that workers offer, with their queues.",
			Agent:   true, Query: []Member{has("type", str().def("image")), has("min_count", integer()), has("max_count", integer()), has("model_state", str().def("all"))}, Answer: list(ref("ActiveModel")), Fails: []int{400}},
		{Method: "GET", Path: "/api/v2/status/models/{model_name}", ID: "get_model_single",
			Summary: "Shows a model that workers offer, with its queue.",
			Agent:   true, Answer: list(ref("ActiveModel"))},
		{Method: "GET", Path: "/api/v2/status/modes", ID: "get_horde_modes",
			Summary: "Shows the modes of the horde.",
			Key:     MayKey, Answer: ref("HordeModes")},
		{Method: "PUT", Path: "/api/v2/status/modes", ID: "put_horde_modes",
			Summary: "Changes the modes of the horde, for administrators.",
			Key:     MustKey, Body: object(has("invite_only_mode", flag()), has("maintenance_mode", flag()), has("raid_mode", flag()), has("reason", str()), has("invite_only_kinds", list(str().oneOf("image", "text", "interrogation")))), Answer: ref("HordeModes"), Fails: []int{401, 403}},
		{Method: "GET", Path: "/api/v2/status/news", ID: "get_horde_news",
			Summary: "News of the horde, newest first.",
			Agent:   true, Answer: list(ref("Newspiece"))},
		{Method: "GET", Path: "/api/v2/status/performance", ID: "get_horde_load",
			Summary: "Tells how much work waits, how many workers there are and what they did in the last minute.",
			Agent:   true, Answer: ref("HordePerformance")},
	}
}

func statisticsOperations() []Operation {
	return []Operation{
		{Method: "GET", Path: "/api/v2/stats/img/models", ID: "get_image_horde_stats_models",
			Summary: "Counts the images by model: today, this month, ever.",
			Agent:   true, Query: []Member{has("model_state", str().def("known"))}, Answer: ref("ImgModelStats"), Fails: []int{400}},
		{Method: "GET", Path: "/api/v2/stats/img/totals", ID: "get_image_horde_stats_totals",
			Summary: "Counts all images of the last minute, hour, day, month and ever.",
			Agent:   true, Answer: ref("StatsImgTotals")},
		{Method: "GET", Path: "/api/v2/stats/text/models", ID: "get_text_horde_stats_models",
			Summary: "Counts the texts by model: today, this month, ever.",
			Agent:   true, Answer: ref("TxtModelStats")},
		{Method: "GET", Path: "/api/v2/stats/text/totals", ID: "get_text_horde_stats_totals",
			Summary: "Counts all texts of the last minute, hour, day, month and ever.",
			Agent:   true, Answer: ref("StatsTxtTotals")},
	}
}

func documentsOperations() []Operation {
	return []Operation{
		{Method: "GET", Path: "/api/v2/documents/privacy", ID: "get_docs_privacy",
			Summary: "The privacy policy of this node.",
			Agent:   true, Query: []Member{has("format", str().def("html"))}, Answer: ref("HordeDocument"), Fails: []int{400}},
		{Method: "GET", Path: "/api/v2/documents/sponsors", ID: "get_docs_sponsors",
			Summary: "Who sponsors this node.",
			Agent:   true, Query: []Member{has("format", str().def("html"))}, Answer: ref("HordeDocument"), Fails: []int{400}},
		{Method: "GET", Path: "/api/v2/documents/terms", ID: "get_docs_terms",
			Summary: "The terms of use of this node.",
			Agent:   true, Query: []Member{has("format", str().def("html"))}, Answer: ref("HordeDocument"), Fails: []int{400}},
	}
}

func filtersOperations() []Operation {
	return []Operation{
		{Method: "GET", Path: "/api/v2/filters", ID: "get_filters",
			Summary: "Lists prompt filters, for moderators.",
			Key:     MustKey, Agent: true, Query: []Member{has("filter_type", integer()), has("contains", str())}, Answer: list(ref("FilterDetails")), Fails: []int{400, 401, 403}},
		{Method: "POST", Path: "/api/v2/filters", ID: "post_filters",
			Summary: "Tells which filters a prompt would hit, for moderators.",
			Key:     MustKey, Agent: true, Body: object(has("filter_type", integer()), has("prompt", str())), Answer: ref("FilterPromptSuspicion"), Fails: []int{400, 401, 403}},
		{Method: "PUT", Path: "/api/v2/filters", ID: "put_filters",
			Summary: "Adds a prompt filter, for moderators.",
			Key:     MustKey, Agent: true, Body: ref("PutNewFilter"), Status: 201, Answer: ref("FilterDetails"), Fails: []int{400, 401, 403}},
		{Method: "GET", Path: "/api/v2/filters/regex", ID: "get_filter_regex",
			Summary: "Shows the combined expression of each filter type, for moderators.",
			Key:     MustKey, Agent: true, Query: []Member{has("filter_type", integer())}, Answer: list(ref("FilterRegex")), Fails: []int{400, 401, 403}},
		{Method: "DELETE", Path: "/api/v2/filters/{filter_id}", ID: "delete_filter_single",
			Summary: "Deletes a prompt filter, for moderators.",
			Key:     MustKey, Agent: true, Answer: ref("SimpleResponse"), Fails: []int{400, 401, 403}},
		{Method: "GET", Path: "/api/v2/filters/{filter_id}", ID: "get_filter_single",
			Summary: "Shows a prompt filter, for moderators.",
			Key:     MustKey, Agent: true, Answer: list(ref("FilterDetails")), Fails: []int{400, 401, 403}},
		{Method: "PATCH", Path: "/api/v2/filters/{filter_id}", ID: "patch_filter_single",
			Summary: "Changes a prompt filter, for moderators.",
			Key:     MustKey, Agent: true, Body: ref("PatchExistingFilter"), Answer: ref("FilterDetails"), Fails: []int{400, 401, 403}},
	}
}

func operationsOperations() []Operation {
	return []Operation{
		{Method: "DELETE", Path: "/api/v2/operations/block_worker_ipaddr/{worker_id}", ID: "delete_operations_block_worker_ip",
			Summary: "Lifts the block of the address of a worker, for moderators.",
			Key:     MustKey, Agent: true, Answer: ref("SimpleResponse"), Fails: []int{400, 401, 403}},
		{Method: "PUT", Path: "/api/v2/operations/block_worker_ipaddr/{worker_id}", ID: "put_operations_block_worker_ip",
			Summary: "Blocks the address of a worker for some days, for moderators.",
			Key:     MustKey, Agent: true, Body: ref("AddWorkerTimeout"), Answer: ref("SimpleResponse"), Fails: []int{400, 401, 403}},
		{Method: "DELETE", Path: "/api/v2/operations/ipaddr", ID: "delete_operations_ip",
			Summary: "Lifts the block of an address, for moderators.",
			Key:     MustKey, Agent: true, Body: ref("DeleteTimeoutIPInput"), Answer: ref("SimpleResponse"), Fails: []int{400, 401, 403}},
		{Method: "GET", Path: "/api/v2/operations/ipaddr", ID: "get_operations_ip",
			Summary: "Lists blocked addresses, for moderators.",
			Key:     MustKey, Agent: true, Answer: list(ref("IPTimeout")), Fails: []int{400, 401, 403}},
		{Method: "POST", Path: "/api/v2/operations/ipaddr", ID: "post_operations_ip",
			Summary: "Blocks an address for some hours, for moderators.",
			Key:     MustKey, Agent: true, Body: ref("AddTimeoutIPInput"), Answer: ref("SimpleResponse"), Fails: []int{400, 401, 403}},
		{Method: "GET", Path: "/api/v2/operations/ipaddr/{ipaddr}", ID: "get_operations_ip_single",
			Summary: "Tells whether an address is blocked, for moderators.",
			Key:     MustKey, Agent: true, Answer: list(ref("IPTimeout")), Fails: []int{400, 401, 403}},
	}
}
