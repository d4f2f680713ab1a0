package api

import (
	"encoding/json"
	"fmt"

	"hordenode/internal/horde"
)

// styleParams reads the params of a style as arguments.
func styleParams(st horde.Style) (*args, error) {
	if len(st.Params) == 0 {
		return &args{}, nil
	}
	v, err := parseJSON(st.Params)
	if err != nil {
		return nil, fmt.Errorf("decode the params of style %s: %w", st.ID, err)
	}
	m, _ := v.(map[string]any)
	return &args{body: m}, nil
}

// imageStyleParams are the params that image styles show, in the API's order.
type imageStyleParams struct {
	Steps          *int64          `json:"steps,omitempty"`
	Sampler        *string         `json:"sampler_name,omitempty"`
	CFG            *float64        `json:"cfg_scale,omitempty"`
	Denoise        *float64        `json:"denoising_strength,omitempty"`
	HiresDenoise   *float64        `json:"hires_fix_denoising_strength,omitempty"`
	Height         *int64          `json:"height,omitempty"`
	Width          *int64          `json:"width,omitempty"`
	PostProcessing []string        `json:"post_processing,omitzero"`
	Karras         *bool           `json:"karras,omitempty"`
	Tiling         *bool           `json:"tiling,omitempty"`
	HiresFix       *bool           `json:"hires_fix,omitempty"`
	ClipSkip       *int64          `json:"clip_skip,omitempty"`
	FaceFixer      *float64        `json:"facefixer_strength,omitempty"`
	LoRAs          []lora          `json:"loras,omitzero"`
	TIs            []ti            `json:"tis,omitzero"`
	Special        json.RawMessage `json:"special,omitempty"`
	Workflow       *string         `json:"workflow,omitempty"`
	Transparent    *bool           `json:"transparent,omitempty"`
}

// shownParams is what is shown of a style's params: those that the API declares for styles.
func shownParams(st horde.Style) (any, error) {
	p, err := styleParams(st)
	if err != nil {
		return nil, err
	}
	if st.Kind == horde.KindText {
		return readTextSamplers(p), p.err
	}
	var defaults imageParams
	defaults.read(p)
	return imageStyleParams{
		Steps:          defaults.steps,
		Sampler:        p.optStr("sampler_name", 30),
		CFG:            defaults.cfg,
		Denoise:        defaults.denoise,
		HiresDenoise:   defaults.hiresDen,
		Height:         p.optInteger("height"),
		Width:          p.optInteger("width"),
		PostProcessing: defaults.post,
		Karras:         p.optFlag("karras"),
		Tiling:         p.optFlag("tiling"),
		HiresFix:       p.optFlag("hires_fix"),
		ClipSkip:       defaults.clipSkip,
		FaceFixer:      defaults.facefixer,
		LoRAs:          defaults.loras,
		TIs:            defaults.tis,
		Special:        defaults.special,
		Workflow:       p.optStr("workflow", 20),
		Transparent:    p.optFlag("transparent"),
	}, p.err
}
