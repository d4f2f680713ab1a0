package api

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// textRequestSchema is the body of POST /generate/text/async.
func textRequestSchema() *schema {
	return object(
		may("prompt", text(0, maxPrompt)),
		may("params", object(
			may("n", whole(1, 20)),
			may("max_context_length", whole(80, 1_048_576)),
			may("max_length", whole(16, 4096)),
			may("rep_pen", number(1, 3)),
			may("rep_pen_range", whole(0, 4096)),
			may("rep_pen_slope", number(0, 10)),
			may("temperature", number(0, 5)),
			may("tfs", number(0, 1)),
			may("top_a", number(0, 1)),
			may("top_k", whole(0, 200)),
			may("top_p", number(0.001, 1)),
			may("typical", number(0, 1)),
			may("min_p", number(0, 1)),
			may("smoothing_factor", number(0, 10)),
			may("dynatemp_range", number(0, 5)),
			may("dynatemp_exponent", number(0, 5)),
			may("sampler_order", list(whole(math.MinInt32, math.MaxInt32), 0, 100)),
			may("stop_sequence", list(text(0, maxAny), 0, 1000)),
			may("singleline", flag()),
			may("frmtadsnsp", flag()),
			may("frmtrmblln", flag()),
			may("frmtrmspch", flag()),
			may("frmttriminc", flag()),
			may("use_default_badwordsids", flag()),
		)),
		may("softprompt", text(1, 1024)),
		may("trusted_workers", flag()),
		may("validated_backends", flag()),
		may("slow_workers", flag()),
		may("extra_slow_workers", flag()),
		may("workers", list(text(0, maxAny), 0, maxWorkers)),
		may("worker_blacklist", flag()),
		may("models", list(text(0, 255), 0, maxModels)),
		may("dry_run", flag()),
		may("proxied_account", text(0, 255)),
		may("extra_source_images", extraSourcesSchema()),
		may("disable_batching", flag()),
		may("allow_downgrade", flag()),
		may("webhook", text(0, 1024)),
		may("style", text(3, 1024)),
	)
}

// A textOrder is a POST /generate/text/async with its defaults filled in. Its softprompt,
// nsfw and batching fields have no effect, as in the reference.
type textOrder struct {
	order
	maxLength, maxContext int
	payload               textPayload
}

// textPayload is the payload of a text pop. The last six are always there, the others if
// the client sent them.
type textPayload struct {
	Prompt           *string `json:"prompt,omitempty"`
	N                int     `json:"n,omitempty"` // 1 with a job: a batch is told by ids alone
	MaxContextLength int     `json:"max_context_length"`
	MaxLength        int     `json:"max_length"`
	textSamplers
}

// textSamplers are the parameters that shape a text; the last four are always shown.
type textSamplers struct {
	RepPen           *float64 `json:"rep_pen,omitempty"`
	RepPenRange      *int64   `json:"rep_pen_range,omitempty"`
	RepPenSlope      *float64 `json:"rep_pen_slope,omitempty"`
	Temperature      *float64 `json:"temperature,omitempty"`
	TFS              *float64 `json:"tfs,omitempty"`
	TopA             *float64 `json:"top_a,omitempty"`
	TopK             *int64   `json:"top_k,omitempty"`
	TopP             *float64 `json:"top_p,omitempty"`
	Typical          *float64 `json:"typical,omitempty"`
	SingleLine       *bool    `json:"singleline,omitempty"`
	SamplerOrder     []int64  `json:"sampler_order,omitzero"`
	BadWords         *bool    `json:"use_default_badwordsids,omitempty"`
	StopSequence     []string `json:"stop_sequence,omitzero"`
	AddSentenceSpace *bool    `json:"frmtadsnsp,omitempty"`
	RemoveBlankLines *bool    `json:"frmtrmblln,omitempty"`
	RemoveSpecial    *bool    `json:"frmtrmspch,omitempty"`
	TrimIncomplete   *bool    `json:"frmttriminc,omitempty"`
	MinP             float64  `json:"min_p"`
	SmoothingFactor  float64  `json:"smoothing_factor"`
	DynatempRange    float64  `json:"dynatemp_range"`
	DynatempExponent float64  `json:"dynatemp_exponent"`
}

// emptyTextPayload is the payload of a pop that brings no job.
func emptyTextPayload() textPayload {
	return textPayload{MaxContextLength: 2048, MaxLength: 80, textSamplers: textSamplers{DynatempExponent: 1}}
}

func (o *textOrder) read(a *args) {
	o.order.read(a, nil)
	o.readParams(a.within("params"))
}

// readParams takes the params, the client's or a style's.
func (o *textOrder) readParams(p *args) {
	o.maxLength = int(p.integer("max_length", 80))
	o.maxContext = int(p.integer("max_context_length", 2048))
	o.payload = textPayload{textSamplers: readTextSamplers(p)}
}

func readTextSamplers(p *args) textSamplers {
	return textSamplers{
		RepPen:           p.optNumber("rep_pen"),
		RepPenRange:      p.optInteger("rep_pen_range"),
		RepPenSlope:      p.optNumber("rep_pen_slope"),
		Temperature:      p.optNumber("temperature"),
		TFS:              p.optNumber("tfs"),
		TopA:             p.optNumber("top_a"),
		TopK:             p.optInteger("top_k"),
		TopP:             p.optNumber("top_p"),
		Typical:          p.optNumber("typical"),
		SingleLine:       p.optFlag("singleline"),
		SamplerOrder:     p.integers("sampler_order"),
		BadWords:         p.optFlag("use_default_badwordsids"),
		StopSequence:     p.strs("stop_sequence", 1000),
		AddSentenceSpace: p.optFlag("frmtadsnsp"),
		RemoveBlankLines: p.optFlag("frmtrmblln"),
		RemoveSpecial:    p.optFlag("frmtrmspch"),
		TrimIncomplete:   p.optFlag("frmttriminc"),
		MinP:             p.number("min_p", 0),
		SmoothingFactor:  p.number("smoothing_factor", 0),
		DynatempRange:    p.number("dynatemp_range", 0),
		DynatempExponent: p.number("dynatemp_exponent", 1),
	}
}

// check applies the rules of text parameters in the reference's order (spec/text.md
// section 3, rows 19 to 24).
func (o *textOrder) check() error {
	stops := slices.Compact(slices.Sorted(slices.Values(o.payload.StopSequence)))
	chars := 0
	for _, stop := range stops {
		chars += utf8.RuneCountInString(stop)
	}
	samplers := slices.Compact(slices.Sorted(slices.Values(o.payload.SamplerOrder)))
	switch {
	case o.maxContext < o.maxLength:
		return horde.Refuse(horde.RCTokenOverflow, "max_context_length must not be less than max_length.")
	case o.payload.SamplerOrder != nil && len(samplers) < 7:
		return horde.Refuse(horde.RCMissingFullSamplerOrder, "sampler_order must name all 7 samplers.")
	case len(stops) > 128:
		return horde.Refuse(horde.RCTooManyStopSequences, "A request can have 128 stop sequences at most.")
	case chars > 2000:
		return horde.Refuse(horde.RCExcessiveStopSequence, "All stop sequences together can have 2000 characters at most.")
	case len(o.extras) > 0:
		return horde.Refuse(horde.RCInvalidExtraSourceImages, "Texts take no source images.")
	case o.nul:
		return errNUL()
	}
	return nil
}

func (o *textOrder) priced() pricing.Text {
	return pricing.Text{MaxLength: o.maxLength, MaxContext: o.maxContext, Models: o.models, N: o.n, SlowOK: o.slow}
}

func (o *textOrder) shape() horde.Shape {
	return horde.Shape{
		Kind:              horde.KindText,
		Models:            o.models,
		TrustedOnly:       o.trusted,
		ValidatedBackends: o.validated,
		SlowOK:            o.slow,
		Workers:           o.workerIDs,
		WorkersDeny:       o.blacklist,
		MaxLength:         o.maxLength,
		MaxContextLength:  o.maxContext,
	}
}

// textBody is the Body of a text request: what its worker gets. Only this package reads it.
type textBody struct {
	Version int         `json:"v"`
	Payload textPayload `json:"payload"`
	Hook    *hook       `json:"hook,omitempty"`
}

func (o *textOrder) body(to *hook) ([]byte, error) {
	b := textBody{Version: 1, Payload: o.payload, Hook: to}
	b.Payload.Prompt = &o.prompt
	b.Payload.N = 1
	b.Payload.MaxLength, b.Payload.MaxContextLength = o.maxLength, o.maxContext
	raw, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode the body of a text request: %w", err)
	}
	return raw, nil
}

func decodeTextBody(raw []byte) (textBody, error) {
	var b textBody
	if err := json.Unmarshal(raw, &b); err != nil {
		return b, fmt.Errorf("decode the body of a text request: %w", err)
	}
	return b, nil
}
