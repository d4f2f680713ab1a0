package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// A history is what clients of a bank did and saw, for a checker that asks whether there is one
// order of all operations, each between its call and its return, that explains it.
type history struct {
	mu      sync.Mutex // guards all below
	clock   int64      // counts calls and returns: who returned before another began comes first
	users   []horde.UserID
	initial balances
	ops     []porcupine.Operation
}

// balances are those of the bank's accounts.
type balances [simAccounts]horde.Kudos

// A bankCall is an operation: a transfer, or a read of all accounts if Amount is 0.
type bankCall struct {
	From, To int
	Amount   horde.Kudos
}

// A bankAnswer is what came of it.
type bankAnswer struct {
	Unknown bool
	RC      horde.RC // of a refused transfer
	Read    balances
}

// begin notes the balances that the bank opens with.
func (h *history) begin(c *ledger.Client, users []horde.UserID) {
	h.users = users
	h.initial = h.look(c)
}

func (h *history) look(c *ledger.Client) (b balances) {
	at := map[horde.UserID]int{}
	for i, id := range h.users {
		at[id] = i
	}
	for _, u := range c.Users("age", 0, 1000) { // all as of one moment
		if i, ok := at[u.ID]; ok {
			b[i] = u.Kudos
		}
	}
	return b
}

func (h *history) now() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	return h.clock
}

func (h *history) add(client int, in bankCall, called int64, out bankAnswer) {
	returned := h.now()
	if out.Unknown {
		returned = math.MaxInt64 // it may still happen
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: called, Output: out, Return: returned})
}

// read is a linearizable read. One that failed has seen nothing.
func (h *history) read(ctx context.Context, client int, c *ledger.Client) {
	called := h.now()
	if c.Sync(ctx) == nil {
		h.add(client, bankCall{}, called, bankAnswer{Read: h.look(c)})
	}
}

func (h *history) transfer(ctx context.Context, client int, c *ledger.Client, from, to int, amount horde.Kudos) {
	in, called := bankCall{From: from, To: to, Amount: amount}, h.now()
	err := c.Transfer(ctx, ledger.Transfer{From: h.users[from], To: h.users[to], Amount: amount})
	h.add(client, in, called, outcomeOf(err))
}

// outcomeOf tells a refusal, which is decided, from everything that is not known.
func outcomeOf(err error) bankAnswer {
	var refusal *horde.Error
	switch {
	case err == nil:
		return bankAnswer{}
	case errors.As(err, &refusal) && refusal.RC != horde.RCUnavailable:
		return bankAnswer{RC: refusal.RC}
	}
	return bankAnswer{Unknown: true}
}

// bankStep is the bank as it should be. A refusal changes nothing; that there is not enough
// must be true. What is unknown happened or did not.
func bankStep(state, input, output any) []any {
	s, in, out := state.(balances), input.(bankCall), output.(bankAnswer)
	if in.Amount == 0 {
		if s == out.Read {
			return []any{s}
		}
		return nil
	}
	enough := s[in.From]-horde.ClassRegistered.Floor() >= in.Amount
	switch {
	case out.RC == horde.RCKudosTransferNotEnough && enough:
		return nil
	case out.RC != "":
		return []any{s}
	case !enough && out.Unknown:
		return []any{s}
	case !enough:
		return nil
	}
	moved := s
	moved[in.From] -= in.Amount
	moved[in.To] += in.Amount
	if out.Unknown {
		return []any{moved, s}
	}
	return []any{moved}
}

// count tells what is in the history.
func (h *history) count() (transfers, reads, refused, unknown int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range h.ops {
		out := op.Output.(bankAnswer)
		switch {
		case op.Input.(bankCall).Amount == 0:
			reads++
			continue
		case out.RC != "":
			refused++
		case out.Unknown:
			unknown++
		}
		transfers++
	}
	return transfers, reads, refused, unknown
}

// check returns an error if no order of the operations explains what was seen. finished is false
// if there were too many operations of unknown outcome to try all orders in time, and none was found.
func (h *history) check() (finished bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	model := porcupine.NondeterministicModel{Init: func() []any { return []any{h.initial} }, Step: bankStep}
	switch result := porcupine.CheckOperationsTimeout(model.ToModel(), h.ops, 10*time.Second); result {
	case porcupine.Ok:
		return true, nil
	case porcupine.Unknown:
		return false, nil
	default:
		return true, fmt.Errorf("a history of %d operations is not linearizable", len(h.ops))
	}
}
