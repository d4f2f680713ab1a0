package node

import (
	"context"

	"hordenode/api"
	"hordenode/ledger"
)

// blocks is the ledger as the API's endpoints of blocked addresses see it.
type blocks struct{ *ledger.Client }

func (b blocks) BlockIP(ctx context.Context, n api.NewIPBlock) error {
	return b.Client.BlockIP(ctx, ledger.NewIPBlock(n))
}
