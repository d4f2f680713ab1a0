package node

import (
	"context"

	"hordenode/api"
	"hordenode/internal/horde"
	"hordenode/ledger"
)

// community is the ledger as the API's endpoints of teams, shared keys, styles, messages and
// filters see it.
type community struct{ *ledger.Client }

func (c community) CreateTeam(ctx context.Context, n api.NewTeam) (horde.Team, error) {
	return c.Client.CreateTeam(ctx, ledger.NewTeam(n))
}

func (c community) UpdateTeam(ctx context.Context, t api.TeamChange) (horde.Team, error) {
	return c.Client.UpdateTeam(ctx, ledger.TeamChange(t))
}

func (c community) CreateSharedKey(ctx context.Context, n api.NewSharedKey) (horde.SharedKey, error) {
	return c.Client.CreateSharedKey(ctx, ledger.NewSharedKey(n))
}

func (c community) UpdateSharedKey(ctx context.Context, k api.SharedKeyChange) (horde.SharedKey, error) {
	return c.Client.UpdateSharedKey(ctx, ledger.SharedKeyChange(k))
}

func (c community) TransferToKey(ctx context.Context, t api.KeyTransfer) error {
	return c.Client.TransferToKey(ctx, ledger.KeyTransfer(t))
}

func (c community) Styles(kind horde.Kind, q api.StyleQuery) []horde.Style {
	return c.Client.Styles(kind, ledger.StyleQuery(q))
}

func (c community) CreateStyle(ctx context.Context, n api.NewStyle) (horde.Style, error) {
	return c.Client.CreateStyle(ctx, ledger.NewStyle(n))
}

func (c community) UpdateStyle(ctx context.Context, s api.StyleChange) (horde.Style, error) {
	return c.Client.UpdateStyle(ctx, ledger.StyleChange(s))
}

func (c community) AddExample(ctx context.Context, n api.NewExample) (horde.StyleExample, error) {
	return c.Client.AddExample(ctx, ledger.NewExample(n))
}

func (c community) UpdateExample(ctx context.Context, e api.ExampleChange) (horde.StyleExample, error) {
	return c.Client.UpdateExample(ctx, ledger.ExampleChange(e))
}

func (c community) Collections(kind *horde.Kind, q api.StyleQuery) []horde.Collection {
	return c.Client.Collections(kind, ledger.StyleQuery(q))
}

func (c community) CreateCollection(ctx context.Context, n api.NewCollection) (horde.Collection, error) {
	return c.Client.CreateCollection(ctx, ledger.NewCollection(n))
}

func (c community) UpdateCollection(ctx context.Context, ch api.CollectionChange) (horde.Collection, error) {
	return c.Client.UpdateCollection(ctx, ledger.CollectionChange(ch))
}

func (c community) PostMessage(ctx context.Context, n api.NewMessage) (horde.WorkerMessage, error) {
	return c.Client.PostMessage(ctx, ledger.NewMessage(n))
}

func (c community) PutFilter(ctx context.Context, n api.NewFilter) (horde.Filter, error) {
	return c.Client.PutFilter(ctx, ledger.NewFilter(n))
}

func (c community) UpdateFilter(ctx context.Context, f api.FilterChange) (horde.Filter, error) {
	return c.Client.UpdateFilter(ctx, ledger.FilterChange(f))
}
