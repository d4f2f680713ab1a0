package exchange

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hordenode/internal/horde"
)

// What is kept of a worker's lists (spec/status.md section 5, spec/image.md 5.2).
const (
	maxImageModels     = 300
	maxTextModels      = 200
	maxForms           = 100
	maxBlacklist       = 200
	maxBlacklistRunes  = 15
	maxSoftPrompts     = 200
	maxSoftPromptRunes = 100
)

// maintenanceMessage is shown by a worker in maintenance whose owner left no message. Some
// bridges look for the words "maintenance mode".
const maintenanceMessage = "This worker is in maintenance mode: it gets no jobs but its owner's. Please end maintenance mode when it should work again."

// admit tells which worker polls, registering one that is new, and which of its
// capabilities count. The order of the tests is that of spec/image.md 5.2, spec/text.md 7.2 and
// spec/alchemy.md 6.2; what concerns the key and the address comes before, in package api.
func (e *Exchange) admit(ctx context.Context, p horde.Pop) (horde.Worker, horde.Caps, error) {
	var none horde.Worker
	switch {
	case int(p.Kind) >= kinds:
		return none, horde.Caps{}, horde.Refuse(horde.RCBadRequest, "Workers of this kind cannot poll here.")
	case p.User.Is(horde.RoleDeleted):
		return none, horde.Caps{}, horde.Refuse(horde.RCDeletedUser, "This account is being deleted and cannot run workers.")
	case p.User.Is(horde.RoleFlagged):
		return none, horde.Caps{}, horde.Refuse(horde.RCWorkerFlaggedMaintenance,
			"Your account was flagged, so your workers are in maintenance mode. Please ask a moderator.")
	case p.User.ID == horde.Anonymous:
		return none, horde.Caps{}, horde.Refuse(horde.RCAnonForbiddenWorker, "Anonymous cannot run workers. Please register an account.")
	}
	w, err := e.worker(ctx, p)
	if err != nil {
		return none, horde.Caps{}, err
	}
	if w.Owner != p.User.ID {
		return none, horde.Caps{}, horde.Refuse(horde.RCWrongCredentials, "You sent wrong credentials for the worker %q: it belongs to somebody else.", p.Name)
	}
	caps, err := e.accept(p)
	return w, caps, err
}

// worker finds the polling worker by its name, or registers it.
func (e *Exchange) worker(ctx context.Context, p horde.Pop) (horde.Worker, error) {
	w, ok := e.ledger.WorkerByName(p.Name)
	if !ok { // perhaps it was registered at another node a moment ago
		if err := e.ledger.Sync(ctx); err != nil {
			return horde.Worker{}, unavailable("New workers cannot be registered for the moment. Please try again.", err)
		}
		w, ok = e.ledger.WorkerByName(p.Name)
	}
	if !ok {
		w, err := e.ledger.RegisterWorker(ctx, NewWorker{
			Owner: p.User.ID, Kind: p.Kind, Name: p.Name, BridgeAgent: p.Caps.BridgeAgent, IP: p.IP,
		})
		if err != nil {
			return horde.Worker{}, fmt.Errorf("register worker: %w", err)
		}
		return w, nil
	}
	if w.Kind != p.Kind {
		return horde.Worker{}, horde.Refuse(horde.RCPolymorphicNameConflict, "A worker of another kind has this name already. Please choose another one.")
	}
	return w, nil
}

// accept cuts a worker's lists and leaves out the models that its owner may not offer.
func (e *Exchange) accept(p horde.Pop) (horde.Caps, error) {
	c := p.Caps
	c.Threads = max(c.Threads, 1)
	var err error
	if p.Kind == horde.KindAlchemy {
		c.Models = distinct(c.Models[:min(len(c.Models), maxForms)])
		return c, nil
	}
	if p.Kind == horde.KindText {
		c.Blacklist = nil
		c.SoftPrompts = cut(c.SoftPrompts, maxSoftPrompts, maxSoftPromptRunes)
		c.Models, err = textModels(p.User, c.Models)
		return c, err
	}
	c.SoftPrompts = nil
	c.Blacklist = cut(c.Blacklist, maxBlacklist, maxBlacklistRunes)
	for i, word := range c.Blacklist {
		c.Blacklist[i] = strings.ToLower(word)
	}
	c.Models, err = e.imageModels(p.User, c.Models)
	return c, err
}

// imageModels returns the models that are in the reference. A customizer may offer any
// other, a special user those that carry his alias.
func (e *Exchange) imageModels(u horde.User, models []string) ([]string, error) {
	models = models[:min(len(models), maxImageModels)]
	kept := make([]string, 0, len(models))
	for _, name := range models {
		_, known := e.models.Image(name)
		privileged := u.Is(horde.RoleCustomizer) || u.Is(horde.RoleSpecial)
		if known || !privileged {
			if known {
				kept = append(kept, name)
			}
			continue
		}
		if foreign(u, name) {
			return nil, refuseForeign(name)
		}
		if u.Is(horde.RoleCustomizer) || branded(name) {
			kept = append(kept, name)
		}
	}
	if len(kept) == 0 {
		return nil, horde.Refuse(horde.RCBadRequest, "None of the offered models is known, and we cannot accept workers serving only unknown models.")
	}
	return kept, nil
}

// textModels returns the models as they are: any may be offered but those that carry
// somebody else's alias.
func textModels(u horde.User, models []string) ([]string, error) {
	models = models[:min(len(models), maxTextModels)]
	for _, name := range models {
		if foreign(u, name) {
			return nil, refuseForeign(name)
		}
	}
	if len(models) == 0 {
		return nil, horde.Refuse(horde.RCBadRequest, "No model is offered, and we cannot accept workers serving none.")
	}
	return models, nil
}

// distinct returns the names without repetitions, in their order.
func distinct(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func branded(model string) bool { return strings.Contains(model, "::") }

// foreign tells whether a model of the form name::alias carries another alias than u's.
func foreign(u horde.User, model string) bool {
	_, alias, ok := strings.Cut(model, "::")
	return ok && alias != u.Alias()
}

func refuseForeign(model string) error {
	return horde.Refuse(horde.RCBadRequest, "The model %q is reserved for its owner, and we cannot accept workers serving it for others.", model)
}

// cut returns at most n of the strings, each at most runes long.
func cut(list []string, n, runes int) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, min(len(list), n))
	for i := range out {
		out[i] = list[i]
		if r := []rune(list[i]); len(r) > runes {
			out[i] = string(r[:runes])
		}
	}
	return out
}
