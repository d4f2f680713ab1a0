package api

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// An imageOrder is a POST /generate/async with its defaults filled in.
type imageOrder struct {
	order
	nsfw, censor, r2 bool

	image, mask string // source_image and source_mask as sent
	processing  string
	params      imageParams
}

// imageParams are the params of an image order. Where absence means something of its own,
// the field is a pointer or a slice that is nil when absent.
type imageParams struct {
	sampler           string
	cfg               *float64
	denoise, hiresDen *float64
	height, width     int
	seed              string
	variation         int64
	post              []string
	karras            bool
	tiling, hires     bool
	clipSkip          *int64
	facefixer         *float64
	loras             []lora
	tis               []ti
	special           json.RawMessage
	workflow          string
	transparent       bool
	control           string
	imageIsControl    bool
	returnControl     bool
	initAsImage       bool // undeclared, but looked at
	texts             []extraText
	steps             *int64
}

// A lora, ti or extraText goes to the worker as it came, with its defaults.
type (
	lora struct {
		Name    string  `json:"name"`
		Model   float64 `json:"model"`
		Clip    float64 `json:"clip"`
		Trigger string  `json:"inject_trigger,omitempty"`
		Version bool    `json:"is_version"`
	}
	ti struct {
		Name     string  `json:"name"`
		Inject   string  `json:"inject_ti,omitempty"`
		Strength float64 `json:"strength"`
	}
	extraText struct {
		Text      string `json:"text,omitempty"`
		Reference string `json:"reference,omitempty"`
	}
)

func (o *imageOrder) read(a *args) {
	o.order.read(a, []string{"stable_diffusion"})
	o.nsfw = a.flag("nsfw", true)
	o.censor = a.flag("censor_nsfw", true)
	o.r2 = a.flag("r2", true)
	o.replace = a.flag("replacement_filter", true)
	o.image = a.str("source_image", maxImage)
	o.mask = a.str("source_mask", maxImage)
	o.processing = "img2img"
	if p := a.str("source_processing", 20); p != "" {
		o.processing = p
	}
	o.params.read(a.within("params"))
}

func (p *imageParams) read(a *args) {
	p.sampler = "k_euler_a"
	if s := a.str("sampler_name", 30); s != "" {
		p.sampler = s
	}
	p.cfg = a.optNumber("cfg_scale")
	p.denoise = a.optNumber("denoising_strength")
	p.hiresDen = a.optNumber("hires_fix_denoising_strength")
	p.height = int(a.integer("height", 512))
	p.width = int(a.integer("width", 512))
	p.seed = a.str("seed", maxSeed)
	p.variation = a.integer("seed_variation", 0)
	p.post = a.strs("post_processing", 100)
	p.karras = a.flag("karras", true)
	p.tiling = a.flag("tiling", false)
	p.hires = a.flag("hires_fix", false)
	p.clipSkip = a.optInteger("clip_skip")
	p.facefixer = a.optNumber("facefixer_strength")
	p.workflow = a.str("workflow", 20)
	p.transparent = a.flag("transparent", false)
	p.control = a.str("control_type", 20)
	p.imageIsControl = a.flag("image_is_control", false)
	p.returnControl = a.flag("return_control_map", false)
	p.steps = a.optInteger("steps")
	if v, ok := a.body["init_as_image"]; ok {
		p.initAsImage = truthy(v)
	}
	if a.has("special") {
		p.special, _ = json.Marshal(a.body["special"]) // decoded from JSON a moment ago
	}
	if a.has("loras") {
		p.loras = []lora{}
	}
	for _, l := range a.objects("loras") {
		p.loras = append(p.loras, lora{
			Name:    l.str("name", 255),
			Model:   l.number("model", 1),
			Clip:    l.number("clip", 1),
			Trigger: l.str("inject_trigger", 30),
			Version: l.flag("is_version", false),
		})
	}
	if a.has("tis") {
		p.tis = []ti{}
	}
	for _, t := range a.objects("tis") {
		p.tis = append(p.tis, ti{t.str("name", 255), t.str("inject_ti", 20), t.number("strength", 1)})
	}
	for _, t := range a.objects("extra_texts") {
		p.texts = append(p.texts, extraText{t.str("text", maxAny), t.str("reference", 255)})
	}
}

// truthy is how the reference reads fields that it does not declare.
func truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		f, err := v.Float64()
		return err != nil || f != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// stepsToRun are the steps with their defaults: 30, or 20 with a control type, which also
// caps them at 40.
func (p *imageParams) stepsToRun() int {
	switch {
	case p.steps == nil && p.control != "":
		return 20
	case p.steps == nil:
		return 30
	case p.control != "":
		return min(int(*p.steps), 40)
	}
	return int(*p.steps)
}

// cfgToRun is the cfg_scale with the default that is really used.
func (p *imageParams) cfgToRun() float64 {
	if p.cfg == nil {
		return 5
	}
	return *p.cfg
}

// priced is what pricing wants to know of one job. A source image counts only once it is
// attached.
func (o *imageOrder) priced(attached bool) pricing.Image {
	p := &o.params
	i := pricing.Image{
		Width:            p.width,
		Height:           p.height,
		Steps:            p.stepsToRun(),
		CFG:              p.cfgToRun(),
		Sampler:          p.sampler,
		Karras:           p.karras,
		HiresFix:         p.hires,
		Source:           attached && o.image != "",
		Mask:             attached && o.mask != "",
		Processing:       o.processing,
		Denoise:          1,
		ControlType:      p.control,
		ReturnControlMap: p.returnControl,
		PostProcessing:   p.post,
		TIs:              len(p.tis),
		Workflow:         p.workflow,
		Transparent:      p.transparent,
	}
	if p.denoise != nil {
		i.Denoise = *p.denoise
	}
	for _, l := range p.loras {
		i.LoRAs = append(i.LoRAs, pricing.LoRA{Name: l.Name, IsVersion: l.Version})
	}
	return i
}

// pricedOrder is what pricing wants to know of the rest.
func (o *imageOrder) pricedOrder() pricing.Order {
	return pricing.Order{
		Models:       o.models,
		N:            o.n,
		SlowOK:       o.slow,
		Blacklist:    o.blacklist,
		ExtraSources: len(o.extras),
	}
}

// shape is what matching needs.
func (o *imageOrder) shape() horde.Shape {
	p := &o.params
	clip := 0
	if p.clipSkip != nil {
		clip = int(*p.clipSkip)
	}
	return horde.Shape{
		Kind:              horde.KindImage,
		Models:            o.models,
		NSFW:              o.nsfw,
		UnsafeIP:          o.fromUnsafe,
		TrustedOnly:       o.trusted,
		ValidatedBackends: o.validated,
		SlowOK:            o.slow,
		ExtraSlowOK:       o.extraSlow,
		Workers:           o.workerIDs,
		WorkersDeny:       o.blacklist,
		Pixels:            int64(p.width) * int64(p.height),
		AccurateSteps:     pricing.AccurateSteps(p.sampler, p.stepsToRun()),
		Source:            o.image != "",
		Processing:        o.processing,
		ExtraSources:      len(o.extras) > 0,
		R2:                o.r2,
		Sampler:           p.sampler,
		Karras:            p.karras,
		LoRAs:             p.loras != nil,
		LoRAVersions:      slices.ContainsFunc(p.loras, func(l lora) bool { return l.Version }),
		TIs:               p.tis != nil,
		PostProcessing:    p.post,
		ControlType:       p.control,
		ImageIsControl:    p.imageIsControl,
		ReturnControl:     p.returnControl,
		Tiling:            p.tiling,
		HiresFix:          p.hires,
		ClipSkip:          clip,
		Transparent:       p.transparent,
		Workflow:          p.workflow,
	}
}

// imageBody is the Body of an image request: what its worker gets, but for what differs
// from job to job, and how its results are delivered. Only this package reads it. Unknown
// members are ignored, so nodes of different versions understand each other.
type imageBody struct {
	Version   int           `json:"v"`
	Payload   imagePayload  `json:"payload"`
	R2        bool          `json:"r2,omitempty"`
	Seed      *uint32       `json:"seed,omitempty"` // nil: each batch gets a random one
	Variation int64         `json:"variation,omitempty"`
	Source    string        `json:"source,omitempty"` // blob names
	Mask      string        `json:"mask,omitempty"`
	Extras    []extraSource `json:"extras,omitempty"`
	Method    string        `json:"method,omitempty"` // source_processing
	Hook      *hook         `json:"hook,omitempty"`
}

type extraSource struct {
	Blob     string  `json:"blob"`
	Strength float64 `json:"strength"`
}

// imagePayload is the payload of a pop. Absent fields have no default in the reference; the
// others are always there.
type imagePayload struct {
	Prompt         string          `json:"prompt,omitempty"`
	Steps          int             `json:"ddim_steps"`
	N              int             `json:"n_iter"`
	Censor         bool            `json:"use_nsfw_censor,omitempty"`
	Seed           string          `json:"seed,omitempty"`
	Control        string          `json:"control_type,omitempty"`
	ImageIsControl bool            `json:"image_is_control"`
	ReturnControl  bool            `json:"return_control_map"`
	ExtraTexts     []extraText     `json:"extra_texts,omitempty"`
	Sampler        string          `json:"sampler_name"`
	CFG            float64         `json:"cfg_scale"`
	Denoise        *float64        `json:"denoising_strength,omitempty"`
	HiresDenoise   *float64        `json:"hires_fix_denoising_strength,omitempty"`
	Height         int             `json:"height"`
	Width          int             `json:"width"`
	PostProcessing []string        `json:"post_processing,omitzero"`
	Karras         bool            `json:"karras"`
	Tiling         bool            `json:"tiling"`
	HiresFix       bool            `json:"hires_fix"`
	ClipSkip       *int64          `json:"clip_skip,omitempty"`
	FaceFixer      *float64        `json:"facefixer_strength,omitempty"`
	LoRAs          []lora          `json:"loras,omitzero"`
	TIs            []ti            `json:"tis,omitzero"`
	Special        json.RawMessage `json:"special,omitempty"`
	Workflow       string          `json:"workflow,omitempty"`
	Transparent    bool            `json:"transparent"`
}

// emptyImagePayload is the payload of a pop that brings no job.
func emptyImagePayload() imagePayload {
	return imagePayload{Steps: 30, N: 1, Sampler: "k_euler_a", CFG: 7.5, Height: 512, Width: 512}
}

// body is the request's Body, but for the names of its blobs. random makes the seed that a
// variation starts from if the client gave none.
func (o *imageOrder) body(random func() uint64) imageBody {
	p := &o.params
	b := imageBody{
		Version: 1,
		Payload: imagePayload{
			Prompt:         o.prompt,
			Steps:          p.stepsToRun(),
			N:              1,
			Censor:         !o.nsfw && o.censor,
			Control:        p.control,
			ImageIsControl: p.imageIsControl,
			ReturnControl:  p.returnControl,
			ExtraTexts:     p.texts,
			Sampler:        p.sampler,
			CFG:            p.cfgToRun(),
			Denoise:        p.denoise,
			HiresDenoise:   p.hiresDen,
			Height:         p.height,
			Width:          p.width,
			PostProcessing: p.post,
			Karras:         p.karras,
			Tiling:         p.tiling,
			HiresFix:       p.hires,
			ClipSkip:       p.clipSkip,
			FaceFixer:      p.facefixer,
			LoRAs:          p.loras,
			TIs:            p.tis,
			Special:        p.special,
			Workflow:       p.workflow,
			Transparent:    p.transparent,
		},
		R2:        o.r2,
		Variation: p.variation,
		Method:    o.processing,
	}
	switch {
	case p.seed != "":
		seed := seedNumber(p.seed)
		b.Seed = &seed
	case p.variation > 0:
		seed := uint32(random())
		b.Seed = &seed
	}
	return b
}

func decodeImageBody(raw []byte) (imageBody, error) {
	var b imageBody
	if err := json.Unmarshal(raw, &b); err != nil {
		return b, fmt.Errorf("decode the body of an image request: %w", err)
	}
	return b, nil
}

// seedNumber makes a number of a seed: digits count as such, other text as the little-endian
// number of its bytes; what is too large is shifted right by 32 bits until it fits.
func seedNumber(s string) uint32 {
	n := new(big.Int)
	if _, ok := n.SetString(s, 10); !ok || s[0] == '-' || s[0] == '+' {
		b := []byte(s)
		slices.Reverse(b)
		n.SetBytes(b)
	}
	for n.BitLen() > 32 {
		n.Rsh(n, 32)
	}
	return uint32(n.Uint64())
}

// seedOf is the seed of a batch of jobs: remaining is how many slots were open before it
// was taken (spec/image.md section 5.4).
func (b *imageBody) seedOf(remaining int, random func() uint64) string {
	var seed uint64
	switch {
	case b.Seed == nil:
		seed = random() % (1 << 32)
	case b.Variation == 0:
		seed = uint64(*b.Seed)
	default:
		seed = uint64(*b.Seed) + uint64(b.Variation)*uint64(max(remaining, 0))
		for seed >= 1<<32 {
			seed >>= 32
		}
	}
	return strconv.FormatUint(seed, 10)
}
