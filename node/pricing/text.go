package pricing

import (
	"math"
	"unicode/utf8"

	"hordenode/internal/horde"
)

// A Text is what the price of a text request depends on.
type Text struct {
	MaxLength  int // tokens
	MaxContext int // tokens: max_context_length
	Models     []string
	N          int  // jobs
	SlowOK     bool // slow_workers
}

// TextTax returns what accepting a text request costs: 1, and 2 more if a style was applied.
func TextTax(styled bool) horde.Kudos {
	if styled {
		return horde.Whole(3)
	}
	return horde.Whole(1)
}

// TextQuote returns what a text request costs as far as it is known when it is accepted.
// promptLen is the length of the prompt in characters.
func TextQuote(promptLen int, styled bool) horde.Quote {
	return horde.Quote{Tax: TextTax(styled), PromptLen: promptLen}
}

// TextEstimate returns, in kudos and unrounded, the answer to a dry run. It takes the
// context that was asked for, so it is far above what a short prompt settles at
// (spec/kudos.md section 13.2).
func (l *List) TextEstimate(t Text) float64 { return (l.textDryRun(t)+1)*float64(t.N) + 1 }

// textDryRun returns the estimate for one job.
func (l *List) textDryRun(t Text) float64 {
	length, context := float64(t.MaxLength), contextFactor(t.MaxContext)
	if len(t.Models) == 0 {
		return round2(length * 13 * context / 100)
	}
	size, known := l.models.Parameters(t.Models[0])
	if !known {
		return length * 0.027 * context
	}
	return round2(length * sizeBonus(size) * size * context / 100)
}

// priceText prices one delivered text.
func (l *List) priceText(r *horde.Request, model, bridgeAgent string, ownerTrusted bool, result []byte, censored bool) horde.Price {
	s := Settlement{
		MaxLength:       int(r.Things),
		PromptChars:     r.Quote.PromptLen,
		GenerationChars: utf8.RuneCount(result),
		OwnerTrusted:    ownerTrusted,
		Validated:       ValidatedBackend(bridgeAgent),
	}
	s.Size, s.Known = l.models.Parameters(model)
	reward := s.Reward()
	gross := horde.RoundKudos(reward)
	return horde.Price{
		Reward: reward,
		Credit: gross,
		Debit:  Debit(gross, r.Quote, censored),
		Things: r.Things,
	}
}

// A Settlement is what the reward of one delivered text depends on.
type Settlement struct {
	MaxLength       int // tokens asked for; also the most that count, of the prompt too
	PromptChars     int
	GenerationChars int
	Size            float64 // of the model, in billions
	Known           bool    // the model is in the reference
	OwnerTrusted    bool
	Validated       bool // the worker runs a validated backend
}

// Reward returns the worker's reward in kudos, not rounded for an unknown model
// (spec/kudos.md section 13.1).
func (s Settlement) Reward() float64 {
	context := contextFactor(tokens(s.PromptChars, s.MaxLength))
	generated := float64(tokens(s.GenerationChars, s.MaxLength))
	switch {
	case !s.Known && !s.OwnerTrusted:
		return context
	case !s.Known:
		return generated * context * 0.027
	}
	k := generated * sizeBonus(s.Size) * s.Size / 125
	if !s.Validated {
		k *= 0.3
	}
	return round2(k * context)
}

// tokens estimates the tokens of a text: a quarter of its characters, at least 20, at most
// as many as were asked for.
func tokens(chars, maxLength int) int { return min(maxLength, max(20, (chars+3)/4)) }

// contextFactor grows with the tokens of context: 1.2 at none, 3.4 at 2048, at most 30.
func contextFactor(tokens int) float64 {
	if tokens <= 0 {
		return 1.2
	}
	f := 1.2 + math.Pow(2.2, math.Log2(float64(tokens)/1024))
	return min(max(f, 0.1), 30)
}

// sizeBonus favours models above 13 billion parameters.
func sizeBonus(billions float64) float64 { return math.Pow(max(billions, 13)/13, 0.20) }
