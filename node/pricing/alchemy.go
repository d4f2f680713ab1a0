package pricing

import (
	"slices"

	"hordenode/internal/horde"
)

// The forms of alchemy (spec/alchemy.md section 2.1).
var (
	readingForms = []string{"caption", "interrogation", "nsfw", "vectorize", "palette", "describe", "aesthetic"}
	imageForms   = []string{
		"GFPGAN", "CodeFormers", "GFPGANv1.3", "RestoreFormer",
		"RealESRGAN_x4plus", "RealESRGAN_x2plus", "RealESRGAN_x4plus_anime_6B", "NMKD_Siax", "4x_AnimeSharp",
		"4xNomos8kSC", "4xLSDIRplus", "4xNomosWebPhoto_RealPLKSR", "4xNomos2_realplksr_dysample", "4xNomos2_hq_dat2",
		"2xModernSpanimationV1",
		"strip_background",
	}
)

// Forms returns the names of all forms.
func Forms() []string { return slices.Concat(readingForms, imageForms) }

// MakesImage tells whether a form's result is an image.
func MakesImage(form string) bool { return slices.Contains(imageForms, form) }

// FormPrice returns what one form of an alchemy request earns its worker: 3 for
// interrogation, 3 per tile of 512 by 512 if it makes an image, else 1.
func FormPrice(form string, width, height int) horde.Kudos {
	switch {
	case form == "interrogation":
		return horde.Whole(3)
	case MakesImage(form):
		return horde.Whole(3 * int64(Tiles(width, height)))
	}
	return horde.Whole(1)
}

// Tiles returns how many tiles of 512 by 512 pixels cover an image.
func Tiles(width, height int) int { return ((width + 511) / 512) * ((height + 511) / 512) }

// FormDebit returns what the payer of a form pays: its price and 1, and 1 more if slow
// workers are allowed (so it is, spec/kudos.md section 4.3).
func FormDebit(price horde.Kudos, slowOK bool) horde.Kudos {
	if slowOK {
		return price + horde.Whole(2)
	}
	return price + horde.Whole(1)
}

// FormTTL is how many seconds a form may take.
const FormTTL = 180

// priceForm prices one delivered form as it was quoted. A request's forms of the same name
// have the same price.
func priceForm(r *horde.Request, form string) horde.Price {
	var price horde.Kudos
	for _, f := range r.Forms {
		if f.Name == form {
			price = f.Price
		}
	}
	return horde.Price{
		Reward: price.Float(),
		Credit: price,
		Debit:  FormDebit(price, r.Shape.SlowOK),
		Things: r.Things,
	}
}
