package openapi

// Note says what a member or parameter of that name means, wherever it appears; "" if that is
// all that its name says.
func Note(name string) string {
	switch name {
	case "Client-Agent":
		return "Your program: name:version:contact."
	case "Idempotency-Key":
		return "A text of your own for this call; sent again with it, the call is carried out once."
	case "X-Fields":
		return "The members wanted in the answer, such as {id,name}."
	case "account_age":
		return "Seconds since the account was made."
	case "allow_downgrade":
		return "Make the request smaller if kudos do not suffice."
	case "amount":
		return "Kudos, a whole number."
	case "apikey":
		return "Your API key. 0000000000 is the anonymous one."
	case "awarded":
		return "Kudos that were given."
	case "blacklist":
		return "Words that the worker refuses."
	case "bridge_agent":
		return "Software of the worker: name:version:url."
	case "censor_nsfw":
		return "Replace images for adults by a censored one."
	case "censored":
		return "It was censored."
	case "cfg_scale":
		return "How closely the prompt is followed."
	case "clip_skip":
		return "Layers of the text encoder that are left out."
	case "concurrency":
		return "Requests that may wait at a time."
	case "contact":
		return "How moderators can reach you; only they see it."
	case "control_type":
		return "ControlNet to use."
	case "count":
		return "Workers that offer it."
	case "creator":
		return "Whose it is."
	case "denoising_strength":
		return "How far the result may be from the source image."
	case "disable_batching":
		return "Give every image to a worker of its own choice, one at a time."
	case "done":
		return "Everything is finished."
	case "dry_run":
		return "Tell the price only; nothing is generated."
	case "errors":
		return "What is wrong, by member."
	case "eta":
		return "Seconds until the queue is empty."
	case "evaluating_kudos":
		return "Kudos held back until the user is trusted."
	case "expiry":
		return "When it ends to exist."
	case "extra_slow_workers":
		return "Very slow workers may take it."
	case "extra_source_images":
		return "More images to begin with."
	case "facefixer_strength":
		return "Strength of face restoration."
	case "faulted":
		return "It cannot be finished."
	case "finished":
		return "Finished generations."
	case "flagged":
		return "Is suspicious to moderators."
	case "format":
		return "html or markdown."
	case "forms":
		return "What to do with the image."
	case "gen_metadata":
		return "What is worth knowing about the generation."
	case "generations":
		return "What is finished."
	case "height":
		return "Pixels, a multiple of 64."
	case "hires_fix":
		return "Generate small first, then larger."
	case "html":
		return "As HTML."
	case "id":
		return "Identifies it."
	case "ids":
		return "Identify the generations of this job."
	case "image":
		return "About images."
	case "image_is_control":
		return "The source image is a control map already."
	case "img":
		return "An image: its address or the image in base64."
	case "info":
		return "What others may read about it."
	case "invite_only_mode":
		return "Only invited workers are taken."
	case "is_possible":
		return "There are workers that can do it."
	case "jobs":
		return "Jobs that wait."
	case "karras":
		return "Noise schedule by Karras."
	case "kudos":
		return "Amount of kudos."
	case "kudos_details":
		return "Where kudos came from and went."
	case "kudos_rewards":
		return "Kudos earned."
	case "loras":
		return "LoRAs to apply."
	case "maintenance":
		return "Takes no new jobs."
	case "maintenance_mode":
		return "Takes no new work."
	case "markdown":
		return "As Markdown."
	case "max_context_length":
		return "Tokens of the context, at most."
	case "max_length":
		return "Tokens to generate, at most."
	case "max_pixels":
		return "Pixels of an image, at most."
	case "message":
		return "What happened, in words."
	case "min_p":
		return "Least probability of a token."
	case "model":
		return "Model."
	case "models":
		return "Models that are wanted or offered; none: any."
	case "moderator":
		return "Is a moderator."
	case "monthly_kudos":
		return "Kudos given every month."
	case "n":
		return "How many are wanted."
	case "name":
		return "Name."
	case "nsfw":
		return "Content for adults is allowed."
	case "online":
		return "Was there in the last minutes."
	case "page":
		return "Page of the list, from 1."
	case "params":
		return "How the generation is to be done."
	case "past_minute_megapixelsteps":
		return "Work done on images in the last minute."
	case "past_minute_tokens":
		return "Tokens delivered in the last minute."
	case "paused":
		return "Is paused by a moderator."
	case "performance":
		return "How fast."
	case "post_processing":
		return "Post-processors, in this order."
	case "priority_usernames":
		return "Users whose jobs come first."
	case "processing":
		return "Generations in work."
	case "prompt":
		return "What is asked for."
	case "proxied_account":
		return "For services: who asked them."
	case "proxy_passkey":
		return "Key with which a service passes on requests of its users."
	case "public":
		return "Others may find it."
	case "public_workers":
		return "Everybody may see whose the workers are."
	case "queue_position":
		return "Place in the queue."
	case "queued":
		return "Work that waits."
	case "queued_megapixelsteps":
		return "Work of the images that wait."
	case "queued_requests":
		return "Image requests that wait."
	case "queued_text_requests":
		return "Text requests that wait."
	case "queued_tokens":
		return "Tokens that wait."
	case "r2":
		return "Answer with the address of an image instead of the image."
	case "r2_upload":
		return "Address to upload the image to."
	case "r2_uploads":
		return "Addresses to upload the images to."
	case "raid_mode":
		return "New accounts cannot be made."
	case "rc":
		return "What happened, for programs."
	case "records":
		return "What was asked for and delivered."
	case "rep_pen":
		return "Penalty of repetition."
	case "replacement_filter":
		return "Clean a suspicious prompt instead of refusing it."
	case "requests_fulfilled":
		return "Jobs delivered."
	case "require_upfront_kudos":
		return "Only jobs of users with enough kudos."
	case "restarted":
		return "Generations that had to be given out again."
	case "result":
		return "What came out."
	case "return_control_map":
		return "Return the control map instead of an image."
	case "reward":
		return "Kudos earned."
	case "sampler_name":
		return "Sampler."
	case "seed":
		return "Seed of the generation; none: chosen at random."
	case "seed_variation":
		return "What is added to the seed from image to image."
	case "shared":
		return "The images may be kept for research, which makes them cheaper."
	case "sharedkey":
		return "A shared key."
	case "skipped":
		return "Why jobs that wait were not given to this worker, with their number."
	case "slow_workers":
		return "Slow workers may take it; without them it costs more."
	case "softprompt":
		return "The soft prompt that is wanted."
	case "sort":
		return "Order of the list."
	case "source_image":
		return "An image to begin with, in base64."
	case "source_mask":
		return "A mask for the image, in base64."
	case "source_processing":
		return "What is done with the source image."
	case "state":
		return "How it ended."
	case "steps":
		return "Sampling steps."
	case "stop_sequence":
		return "Texts that end the generation."
	case "style":
		return "A style, by id or name, to apply."
	case "tags":
		return "Words to find it by."
	case "team":
		return "Team."
	case "temperature":
		return "Randomness of the choice of tokens."
	case "text":
		return "About texts."
	case "threads":
		return "Jobs at a time."
	case "tiling":
		return "An image that repeats without seams."
	case "tis":
		return "Textual inversions to apply."
	case "top_k":
		return "Tokens to choose from, by rank."
	case "top_p":
		return "Tokens to choose from, by probability."
	case "transferred":
		return "Kudos that were sent."
	case "transparent":
		return "An image with a transparent background."
	case "trusted":
		return "Is trusted."
	case "trusted_workers":
		return "Trusted workers only."
	case "ttl":
		return "Seconds that a worker may take."
	case "uncompleted_jobs":
		return "Jobs not delivered."
	case "uptime":
		return "Seconds of service."
	case "usage_multiplier":
		return "Factor on what this user pays."
	case "use_count":
		return "How often it was used."
	case "username":
		return "Name of a user with its number: name#7."
	case "validated_backends":
		return "Workers with a well-known backend only."
	case "wait":
		return "Seconds, 60 at most, that the answer may wait for news."
	case "wait_time":
		return "Seconds until it is probably done."
	case "waiting":
		return "Generations that wait for a worker."
	case "warnings":
		return "What may not be as you expect."
	case "webhook":
		return "Address that every finished job is sent to."
	case "width":
		return "Pixels, a multiple of 64."
	case "worker_blacklist":
		return "Take the list of workers as those that must not."
	case "worker_count":
		return "Number of workers."
	case "worker_id":
		return "Id of the worker."
	case "worker_ids":
		return "Ids of the workers, if they are public."
	case "worker_name":
		return "Name of the worker."
	case "workers":
		return "Ids of the workers that may take the request; none: any."
	case "workflow":
		return "A special workflow of the worker."
	}
	return ""
}
