package modelref

import "strings"

// SD1 is the family of image models that nobody knows.
const SD1 = "stable diffusion 1"

// An Image is what the reference says of an image model. The zero value says nothing.
type Image struct {
	Baseline     string       `json:"baseline"` // family, such as "stable_diffusion_xl"
	Type         string       `json:"type"`     // "ckpt", "controlnet", ...
	NSFW         bool         `json:"nsfw"`
	Inpainting   bool         `json:"inpainting"`
	Requirements Requirements `json:"-"`
}

// Requirements are the settings that a model was made for. What is nil is not asked for.
type Requirements struct {
	ClipSkip   *float64 `json:"clip_skip"`
	Steps      *float64 `json:"steps"`
	MinSteps   *float64 `json:"min_steps"`
	MaxSteps   *float64 `json:"max_steps"`
	CFG        *float64 `json:"cfg_scale"`
	MinCFG     *float64 `json:"min_cfg_scale"`
	MaxCFG     *float64 `json:"max_cfg_scale"`
	Samplers   []string `json:"samplers"`
	Schedulers []string `json:"schedulers"`
}

// Image returns what is known of an image model.
func (s *Store) Image(name string) (m Image, known bool) {
	if s == nil {
		return Image{}, false
	}
	m, known = s.current.Load().images[name]
	return m, known
}

// Baseline returns the family of an image model. Those that no reference has may tell it in
// their name.
func (s *Store) Baseline(name string) string {
	if m, ok := s.Image(name); ok && m.Baseline != "" {
		return m.Baseline
	}
	for _, t := range nameTags {
		if strings.Contains(name, t.tag) {
			return t.baseline
		}
	}
	return SD1
}

var nameTags = []struct{ tag, baseline string }{
	{"[SDXL]", "stable_diffusion_xl"},
	{"[Flux]", "flux_1"},
	{"[Qwen]", "qwen_image"},
	{"[ZModel]", "z_image_turbo"},
	{"[ZImage]", "z_image_turbo"},
}

// NSFW tells whether an image model is made for what not everybody wants to see.
func (s *Store) NSFW(name string) bool {
	m, _ := s.Image(name)
	return m.NSFW
}

// Inpainting tells whether an image model is made for inpainting.
func (s *Store) Inpainting(name string) bool {
	m, _ := s.Image(name)
	return m.Inpainting
}

// Type returns what kind of file an image model is, such as "controlnet"; empty if unknown.
func (s *Store) Type(name string) string {
	m, _ := s.Image(name)
	return m.Type
}

// Requirements returns the settings that an image model was made for.
func (s *Store) Requirements(name string) Requirements {
	m, _ := s.Image(name)
	return m.Requirements
}

// MaxSteps returns the most steps an image model should be given, if it says so.
func (s *Store) MaxSteps(name string) (steps int, ok bool) {
	if m := s.Requirements(name).MaxSteps; m != nil {
		return int(*m), true
	}
	return 0, false
}
