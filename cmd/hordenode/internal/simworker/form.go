package simworker

import (
	"context"
	"fmt"
	"hash/fnv"

	"hordenode/cmd/hordenode/internal/rest"
)

// maxTiles is the most tiles that the API lets an alchemist offer.
const maxTiles = 256

// Forms are what a simulated alchemist does.
func Forms() []string {
	return []string{
		"caption", "interrogation", "nsfw", "vectorize", "palette", "describe", "aesthetic",
		"GFPGAN", "CodeFormers", "RealESRGAN_x4plus", "RealESRGAN_x2plus", "strip_background",
	}
}

// form makes the result of a form: one member, named like the form. An image is uploaded.
func (w *Worker) form(ctx context.Context, to *route, f rest.Form) (map[string]any, error) {
	if f.R2Upload != "" {
		const side = 512
		return map[string]any{f.Form: uploaded}, w.upload(ctx, to, f.R2Upload, webp(side, side, f.ID))
	}
	return map[string]any{f.Form: reading(f)}, nil
}

// reading is what a simulated alchemist sees in an image that it never looks at.
func reading(f rest.Form) any {
	h := fnv.New64a()
	h.Write([]byte(f.ID)) // a hash never fails to write
	look := h.Sum64()
	switch f.Form {
	case "nsfw":
		return false
	case "aesthetic":
		return float64(look%100) / 10
	case "palette":
		return []string{fmt.Sprintf("#%06x", look&0xffffff), fmt.Sprintf("#%06x", look>>24&0xffffff)}
	case "vectorize":
		return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" fill="#%06x"/></svg>`, look&0xffffff)
	case "interrogation":
		guess := []map[string]any{{"text": "synthetic", "confidence": 1}}
		return map[string]any{
			"tags": guess, "sites": guess, "artists": guess, "flavors": guess,
			"mediums": guess, "movements": guess, "techniques": guess,
		}
	}
	return text(len(opening)+60, f.ID)
}
