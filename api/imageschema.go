package api

import "math"

// The enumerations of image requests (spec/image.md section 2.2).
func samplers() []string {
	return []string{
		"k_lms", "k_heun", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a", "k_dpm_fast", "k_dpm_adaptive",
		"k_dpmpp_2s_a", "k_dpmpp_2m", "dpmsolver", "k_dpmpp_sde", "DDIM", "lcm",
	}
}

func controlTypes() []string {
	return []string{"canny", "hed", "depth", "normal", "openpose", "seg", "scribble", "fakescribbles", "hough"}
}

func postProcessors() []string {
	return []string{
		"GFPGAN", "RealESRGAN_x4plus", "RealESRGAN_x2plus", "RealESRGAN_x4plus_anime_6B", "NMKD_Siax",
		"4x_AnimeSharp", "CodeFormers", "strip_background", "4xNomos8kSC", "4xLSDIRplus",
		"4xNomosWebPhoto_RealPLKSR", "4xNomos2_realplksr_dysample", "4xNomos2_hq_dat2",
		"2xModernSpanimationV1", "GFPGANv1.3", "RestoreFormer",
	}
}

// Bounds of strings and lists that the reference leaves open.
const (
	maxPrompt  = 1 << 20  // characters of a prompt
	maxImage   = 14 << 20 // characters of an image in base64
	maxModels  = 300      // models that a request names, or a worker offers
	maxWorkers = 100      // workers that a request names
	maxSeed    = 1000
	maxAny     = 1 << 16 // characters of what has no better bound
)

// imageRequestSchema is the body of POST /generate/async.
func imageRequestSchema() *schema {
	strength := func() *schema { return number(-5, 5) }
	return object(
		must("prompt", text(1, maxPrompt)),
		may("params", object(
			may("sampler_name", choice(samplers()...)),
			may("cfg_scale", number(0, 100)),
			may("denoising_strength", number(0.01, 1)),
			may("hires_fix_denoising_strength", number(0.01, 1)),
			may("height", whole(64, 3072).times(64)),
			may("width", whole(64, 3072).times(64)),
			may("seed", text(0, maxSeed)),
			may("seed_variation", whole(1, 1000)),
			may("post_processing", list(choice(postProcessors()...), 0, 100).distinct()),
			may("karras", flag()),
			may("tiling", flag()),
			may("hires_fix", flag()),
			may("clip_skip", whole(1, 12)),
			may("facefixer_strength", number(0, 1)),
			may("loras", list(object(
				must("name", text(1, 255)),
				may("model", strength()),
				may("clip", strength()),
				may("inject_trigger", text(1, 30)),
				may("is_version", flag()),
			), 0, 100)),
			may("tis", list(object(
				must("name", text(1, 255)),
				may("inject_ti", choice("prompt", "negprompt")),
				may("strength", strength()),
			), 0, 100)),
			may("special", object()),
			may("workflow", choice("qr_code")),
			may("transparent", flag()),
			may("control_type", choice(controlTypes()...)),
			may("image_is_control", flag()),
			may("return_control_map", flag()),
			may("extra_texts", list(object(
				may("text", text(1, maxAny)),
				may("reference", text(3, 255)),
			), 0, 100)),
			may("steps", whole(1, 500)),
			may("n", whole(1, 20)),
		)),
		may("nsfw", flag()),
		may("trusted_workers", flag()),
		may("validated_backends", flag()),
		may("slow_workers", flag()),
		may("extra_slow_workers", flag()),
		may("censor_nsfw", flag()),
		may("workers", list(text(0, maxAny), 0, maxWorkers)),
		may("worker_blacklist", flag()),
		may("models", list(text(0, 255), 0, maxModels)),
		may("source_image", text(0, maxImage)),
		may("source_processing", choice("img2img", "inpainting", "outpainting", "remix")),
		may("source_mask", text(0, maxImage)),
		may("extra_source_images", extraSourcesSchema()),
		may("r2", flag()),
		may("shared", flag()),
		may("replacement_filter", flag()),
		may("dry_run", flag()),
		may("proxied_account", text(0, 255)),
		may("disable_batching", flag()),
		may("allow_downgrade", flag()),
		may("webhook", text(10, 1024)),
		may("style", text(3, 1024)),
	)
}

func extraSourcesSchema() *schema {
	return list(object(
		may("image", text(1, maxImage)),
		may("strength", number(math.Inf(-1), math.Inf(1))),
	), 0, 100)
}

// imagePopSchema is the body of POST /generate/pop.
func imagePopSchema() *schema {
	return object(
		may("name", text(0, maxAny)),
		may("priority_usernames", list(text(0, 255), 0, 1000)),
		may("nsfw", flag()),
		may("models", list(text(3, 255), 0, 10_000)),
		may("bridge_agent", text(0, 1000)),
		may("threads", whole(1, 50)),
		may("require_upfront_kudos", flag()),
		may("amount", whole(1, 20)),
		may("extra_slow_worker", flag()),
		may("max_pixels", whole(math.MinInt32, math.MaxInt32)),
		may("blacklist", list(text(0, 1000), 0, 10_000)),
		may("allow_img2img", flag()),
		may("allow_painting", flag()),
		may("allow_unsafe_ipaddr", flag()),
		may("allow_post_processing", flag()),
		may("allow_controlnet", flag()),
		may("allow_sdxl_controlnet", flag()),
		may("allow_lora", flag()),
		may("limit_max_steps", flag()),
	)
}

// imageSubmitSchema is the body of POST /generate/submit.
func imageSubmitSchema() *schema {
	return object(
		must("id", text(0, maxAny)),
		may("generation", text(0, maxImage)),
		must("seed", whole(math.MinInt64, math.MaxInt64)),
		may("state", choice("ok", "censored", "faulted", "csam")),
		may("censored", flag()),
		may("gen_metadata", list(object(
			must("type", choice("lora", "ti", "censorship", "source_image", "source_mask", "extra_source_images",
				"batch_index", "information", "aesthetic_score")),
			must("value", choice("download_failed", "parse_failed", "baseline_mismatch", "csam", "nsfw", "see_ref")),
			may("ref", text(0, 255)),
		), 0, 1000)),
	)
}
