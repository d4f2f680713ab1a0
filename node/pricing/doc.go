// Package pricing says what things cost. It is pure: a payload, a model reference and the
// load go in, an amount comes out. A home prices its own requests and the amount travels in
// the ledger command, so no two nodes ever have to agree on a formula here.
//
//	accept   List.ImageQuote ──► horde.Quote (kept with the request)     tax, base price, surcharge
//	         List.ImageUpfront, TextUpfront ──► must kudos be held?      else Downgrade…
//	dry run  List.ImageEstimate, TextEstimate
//	deliver  List.Price(request, model, …) ──► horde.Price               reward, credit, debit
//	check-in List.Uptime ──► what 600 s of being there earn
//
// The rules are those of spec/kudos.md sections 4 to 6 and 12 to 14. What an image costs is
// learned from published prices (image.go and the program in fit), unless the operator has a
// network of floats (Model).
package pricing

import (
	"sync/atomic"

	"hordenode/internal/horde"
)

// Models is what prices depend on of the model references. *modelref.Store implements it.
type Models interface {
	// Baseline returns the family of an image model, "stable diffusion 1" if unknown.
	Baseline(model string) string
	// MaxSteps returns the most steps an image model should be given, if it says so.
	MaxSteps(model string) (steps int, ok bool)
	// Parameters returns the size of a text model in billions; 1 and false if unknown.
	Parameters(model string) (billions float64, known bool)
}

// A List is a price list: the rules plus the model references they look up.
type List struct {
	models  Models
	network atomic.Pointer[Model] // nil: the fitted network
}

// NewList returns the price list for the given references. Images cost what the fitted
// network says.
func NewList(models Models) *List { return &List{models: models} }

// Use prices images by m from now on, nil for the fitted network. What was quoted before is
// settled as it was quoted.
func (l *List) Use(m *Model) { l.network.Store(m) }

// ImageModel names what images are priced by: "fitted", or the SHA-256 of the operator's file.
func (l *List) ImageModel() string {
	if m := l.network.Load(); m != nil {
		return m.Hash()
	}
	return "fitted"
}

// base returns N: see Image.Base, which is N by the fitted network.
func (l *List) base(i Image) horde.Kudos {
	m := l.network.Load()
	if m == nil {
		return i.Base()
	}
	n, ok := m.Price(i)
	if !ok {
		n = i.Legacy()
	}
	return n + i.extras()
}

// Load is how busy the federation is; it decides what is served without kudos up front.
type Load struct {
	Threads int // of all workers of the kind that are online
	Queue   int // jobs waiting or running
}

// Price returns what one delivered job of r moves. model is the one the worker used,
// result what it delivered (read for text only). A censored job costs its payer the flat
// part only; the worker is paid all the same.
func (l *List) Price(r *horde.Request, model, bridgeAgent string, ownerTrusted bool, result []byte, censored bool) horde.Price {
	switch r.Kind {
	case horde.KindText:
		return l.priceText(r, model, bridgeAgent, ownerTrusted, result, censored)
	case horde.KindAlchemy:
		return priceForm(r, model)
	}
	return l.priceImage(r, model, bridgeAgent, censored)
}
