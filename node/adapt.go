package node

import (
	"context"

	"hordenode/api"
	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/jobs"
	"hordenode/node/jobs/exchange"
	"hordenode/node/jobs/match"
	"hordenode/node/modelref"
)

// The parts do not know each other; what one declares and another has is fitted together
// here.

// references are the model references as matching sees them.
type references struct{ *modelref.Store }

func (r references) Image(name string) (match.ImageModel, bool) {
	m, ok := r.Store.Image(name)
	if !ok {
		return match.ImageModel{}, false
	}
	req := m.Requirements
	whole := func(f *float64) int {
		if f == nil {
			return 0
		}
		return int(*f)
	}
	return match.ImageModel{
		Baseline: m.Baseline, Inpainting: m.Inpainting,
		MinSteps: whole(req.MinSteps), MaxSteps: whole(req.MaxSteps),
	}, true
}

// matcher lets a home check, with what it has itself, what another node's index proposed.
func matcher(ref match.Models) jobs.Matcher {
	return func(c jobs.Candidate, r *horde.Request, payer horde.User) string {
		w := match.Worker{
			ID: c.Worker.ID, Kind: c.Worker.Kind, Owner: c.Worker.Owner,
			OwnerTrusted: c.Owner.Is(horde.RoleTrusted),
			Speed:        c.Speed,
			Maintenance:  c.Worker.Maintenance, Paused: c.Worker.Paused,
			Profile: match.NewProfile(c.Worker.Kind, c.Caps, ref),
		}
		return string(match.Check(&w, &r.Shape, match.Payer{
			ID: payer.ID, Trusted: payer.Is(horde.RoleTrusted), Spendable: payer.Available(), Job: r.Quote.Job,
		}))
	}
}

// accounts is the ledger as exchange sees it.
type accounts struct{ *ledger.Client }

func (a accounts) RegisterWorker(ctx context.Context, w exchange.NewWorker) (horde.Worker, error) {
	return a.Client.RegisterWorker(ctx, ledger.NewWorker{Owner: w.Owner, Kind: w.Kind, Name: w.Name})
}

// registry is the ledger as the API's account endpoints see it.
type registry struct{ *ledger.Client }

func (r registry) CreateUser(ctx context.Context, u api.NewUser) (horde.User, horde.APIKey, error) {
	return r.Client.CreateUser(ctx, ledger.NewUser{Name: u.Name, Class: u.Class})
}

func (r registry) TestUser(ctx context.Context, u api.TestUser) (horde.User, horde.APIKey, bool, error) {
	return r.Client.TestUser(ctx, ledger.TestUser{
		Name: u.Name, OAuth: u.Login, Class: u.Class, Moderator: u.Moderator, Trusted: u.Trusted, Kudos: u.Kudos,
	})
}

func (r registry) UpdateUser(ctx context.Context, c api.UserChange) (horde.User, error) {
	return r.Client.UpdateUser(ctx, ledger.UserChange(c))
}

func (r registry) Transfer(ctx context.Context, t api.Transfer) error {
	return r.Client.Transfer(ctx, ledger.Transfer(t))
}

func (r registry) Transfers(ctx context.Context, ts []api.Transfer) ([]error, error) {
	all := make([]ledger.Transfer, len(ts))
	for i, t := range ts {
		all[i] = ledger.Transfer(t)
	}
	return r.Client.Transfers(ctx, all)
}

func (r registry) UpdateWorker(ctx context.Context, c api.WorkerChange) (horde.Worker, error) {
	return r.Client.UpdateWorker(ctx, ledger.WorkerChange(c))
}

func (r registry) SetModes(ctx context.Context, c api.ModesChange) (horde.Modes, error) {
	return r.Client.SetModes(ctx, ledger.ModesChange(c))
}
