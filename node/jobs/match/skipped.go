package match

import (
	"math/bits"

	"hordenode/internal/horde"
)

// skips is a set of reasons that are counted.
type skips uint32

const (
	skipModels skips = 1 << iota
	skipTargeted
	skipImg2Img
	skipPainting
	skipUnsafeIP
	skipNSFW
	skipLoRA
	skipPostProcessing
	skipControlNet
	skipSlow
	skipUntrusted
	skipBridge
	skipSize
	skipSteps
	skipKudos
	skipBlacklist
)

// skipKeys are the reasons by their bits in skips.
var skipKeys = [...]Reason{
	NotModels, NotTargeted, NoImg2Img, NoPainting, NoUnsafeIP, NoNSFW, NoLoRA, NoPostProcessing,
	NoControlNet, TooSlow, Untrusted, BridgeVersion, TooLarge, TooManySteps, TooFewKudos, Blacklisted,
}

// fixedKeys is how many of skipKeys are always present in the `skipped` of an image pop
// (spec/image.md 5.7).
const fixedKeys = 12

// add adds what to the set if the condition holds.
func (s *skips) add(when bool, what skips) {
	if when {
		*s |= what
	}
}

// skipOf returns the set of one reason, empty if it is not counted.
func skipOf(r Reason) skips {
	for i, known := range skipKeys {
		if known == r {
			return 1 << i
		}
	}
	return 0
}

// A Tally counts skipped requests by reason.
type Tally struct {
	kind   horde.Kind
	counts [len(skipKeys)]int
}

// NewTally returns an empty count for pops of a kind.
func NewTally(kind horde.Kind) *Tally { return &Tally{kind: kind} }

func (t *Tally) addSet(s skips, n int) {
	for ; s != 0; s &= s - 1 {
		t.counts[bits.TrailingZeros32(uint32(s))] += n
	}
}

// Add counts n requests that a home refused for a reason only it can see. Other reasons
// are not shown by a pop of this kind and are left out.
func (t *Tally) Add(r Reason, n int) {
	if t.kind == horde.KindImage {
		switch r {
		case Blacklisted, TooManySteps, TooFewKudos, BridgeVersion:
		default:
			return
		}
	}
	t.addSet(skipOf(r), max(n, 0))
}

// Map returns the counts under the API's names: for image the fixed keys are always there,
// all others only if they are not zero.
func (t *Tally) Map() map[string]int {
	m := make(map[string]int, fixedKeys)
	for i, r := range skipKeys {
		if n := t.counts[i]; n > 0 || t.kind == horde.KindImage && i < fixedKeys {
			m[string(r)] = n
		}
	}
	return m
}

// skippedShape tells under which keys a request of shape s that w was not given counts. A
// request counts at most once under each key. The payer's part is skippedPayer's.
func skippedShape(w *Worker, s *horde.Shape) skips {
	var set skips
	r, late := check(w, s, nil)
	if s.Kind != horde.KindImage {
		set.add(late, skipOf(r))
		return set
	}
	if w.Kind != s.Kind {
		return 0
	}
	caps, can := &w.Profile.caps, w.Profile.can
	for _, name := range s.Models {
		set.add(!w.Profile.Serves(name), skipModels)
	}
	set.add(!targeted(w, s), skipTargeted)
	set.add(s.Pixels > caps.MaxPixels, skipSize)
	set.add(s.Source && !caps.Img2Img, skipImg2Img)
	set.add(s.Source && caps.Img2Img && !can.has(capImg2Img), skipBridge)
	set.add(paints(s) && !caps.Painting, skipPainting)
	set.add(paints(s) && caps.Painting && !can.has(capInpainting), skipBridge)
	set.add(s.UnsafeIP && !caps.UnsafeIP, skipUnsafeIP)
	set.add(s.NSFW && !caps.NSFW, skipNSFW)
	set.add(s.LoRAs && !caps.LoRA, skipLoRA)
	set.add(s.LoRAs && caps.LoRA && !can.has(capLoRA), skipBridge)
	set.add(s.ControlType != "" && !caps.ControlNet, skipControlNet)
	set.add(s.ControlType != "" && caps.ControlNet && !can.has(capControlNet), skipBridge)
	set.add(!s.SlowOK && Speed(w.Kind, w.Speed) < w.Profile.slowBelow, skipSlow)
	set.add(!s.ExtraSlowOK && caps.ExtraSlow, skipSlow)
	set.add(s.TrustedOnly && !w.OwnerTrusted, skipUntrusted)
	set.add(s.TIs && !can.has(capTextualInversion), skipBridge)
	set.add(!w.Profile.samples(s), skipBridge)
	set.add(s.HiresFix && !can.has(capHiresFix), skipBridge)
	set.add(s.ReturnControl && !can.has(capReturnControlMap), skipBridge)
	set.add(s.Tiling && !can.has(capTiling), skipBridge)
	set.add(s.Transparent && !can.has(capLayerDiffuse), skipBridge)
	if late {
		set.add(r == BridgeVersion || r == TooManySteps, skipOf(r))
	}
	return set
}

// AddAll adds the counts of another tally of the same kind.
func (t *Tally) AddAll(other *Tally) {
	for i, n := range other.counts {
		t.counts[i] += n
	}
}
