package load

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hordenode/cmd/hordenode/internal/rest"
)

// A Bank moves kudos between many accounts and remembers how much was acknowledged.
//
//	payers (first half) ── one kudo each time ──► receivers (second half)
//
// Nobody sends in both directions: the federation refuses a transfer back within a minute.
type Bank struct {
	clients []*rest.Client
	payers  []Account
	gets    []Account // the receivers

	acked atomic.Int64 // kudos whose transfer was acknowledged
}

// bankKudos is what an account starts with.
const bankKudos = 100_000_000

// OpenBank makes accounts by the test bootstrap.
func OpenBank(ctx context.Context, urls []string, accounts int) (*Bank, error) {
	if accounts < 2 {
		return nil, errors.New("transfers need two accounts")
	}
	httpc := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1000, IdleConnTimeout: time.Minute, DisableCompression: true}}
	b := &Bank{}
	for _, u := range urls {
		b.clients = append(b.clients, &rest.Client{Base: u, Agent: "hordenode bench:1:-", HTTP: httpc})
	}
	all := make([]Account, accounts)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(128)
	for i := range all {
		g.Go(func() error {
			// All at one node: what it decides goes into few batches.
			u, err := b.client(0, "").CreateTestUser(ctx, fmt.Sprintf("bank-%06d", i), false, bankKudos)
			if err != nil {
				return fmt.Errorf("make account: %w", err)
			}
			all[i] = Account{Key: u.APIKey, Alias: u.Alias}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	b.payers, b.gets = all[:accounts/2], all[accounts/2:]
	return b, nil
}

// Close closes the connections.
func (b *Bank) Close() { b.clients[0].HTTP.CloseIdleConnections() }

func (b *Bank) client(i int, key string) *rest.Client {
	c := *b.clients[i%len(b.clients)]
	c.Key = key
	return &c
}

// Transfer measures transfers of one kudo, one a call; hot: all of them between the same two
// accounts.
func (b *Bank) Transfer(ctx context.Context, clients int, d time.Duration, hot bool) (Result, error) {
	var m tally
	m.drive(ctx, clients, d, func(ctx context.Context, c, _ int) error {
		from, to := 0, 0
		if !hot {
			from, to = rand.IntN(len(b.payers)), rand.IntN(len(b.gets))
		}
		if err := b.client(c, b.payers[from].Key).Transfer(ctx, b.gets[to].Alias, 1); err != nil {
			return err
		}
		b.acked.Add(1)
		return nil
	})
	mode := "transfer"
	if hot {
		mode = "transfer, hot"
	}
	return m.done(ctx, mode, clients)
}

// perCall is how many transfers a call of TransferMany takes.
const perCall = 1000

// Batch measures transfers of one kudo, a thousand a call.
func (b *Bank) Batch(ctx context.Context, clients int, d time.Duration) (Result, error) {
	var m tally
	m.drive(ctx, clients, d, func(ctx context.Context, c, _ int) error { return b.many(ctx, c, "") })
	r, err := m.done(ctx, "batch", clients)
	r.Ops *= perCall
	r.Rate *= perCall
	return r, err
}

// many sends a thousand transfers of one account; prefix, if not empty, makes their keys.
func (b *Bank) many(ctx context.Context, c int, prefix string) error {
	ts := make([]rest.Transfer, perCall)
	at := rand.IntN(len(b.gets))
	if prefix != "" {
		at = pick(prefix, len(b.gets))
	}
	for i := range ts {
		ts[i] = rest.Transfer{Username: b.gets[(at+i)%len(b.gets)].Alias, Amount: 1}
		if prefix != "" {
			ts[i].Key = fmt.Sprintf("%s-%d", prefix, i)
		}
	}
	payer := rand.IntN(len(b.payers))
	if prefix != "" {
		payer = pick(prefix, len(b.payers)) // keys are a payer's: a repeat is the same one's
	}
	done, err := b.client(c, b.payers[payer].Key).TransferMany(ctx, ts)
	if err != nil {
		return err
	}
	for _, r := range done {
		if r.RC != "" {
			return &rest.Error{Status: http.StatusServiceUnavailable, RC: r.RC, Message: r.Message}
		}
	}
	b.acked.Add(int64(len(done)))
	return nil
}

// pick is one of n that a name always leads to.
func pick(name string, n int) int {
	h := fnv.New32a()
	h.Write([]byte(name)) //nolint:errcheck // a hash takes everything
	return int(h.Sum32() % uint32(n))
}

// Fill makes n entries that the ledger has to keep: transfers with Idempotency-Keys, which it
// remembers for a day. It answers how many a second.
func (b *Bank) Fill(ctx context.Context, n int) (float64, error) {
	var next atomic.Int64
	start := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	for c := range 4 {
		g.Go(func() error {
			for {
				i := next.Add(perCall) - perCall
				if i >= int64(n) {
					return nil
				}
				if err := b.insist(gctx, c, fmt.Sprintf("fill-%d", i)); err != nil {
					return err
				}
			}
		})
	}
	err := g.Wait()
	return float64(n) / time.Since(start).Seconds(), err
}

// insist repeats many until it succeeds, which its keys make safe: the federation has a limit of
// commands a second, and a loaded machine is slow.
func (b *Bank) insist(ctx context.Context, c int, prefix string) error {
	const most = 200
	for try := 1; ; try++ {
		err := b.many(ctx, c, prefix)
		if err == nil || ctx.Err() != nil || try == most {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// Balance measures reads of balances.
func (b *Bank) Balance(ctx context.Context, clients int, d time.Duration, fresh bool) (Result, error) {
	var m tally
	m.drive(ctx, clients, d, func(ctx context.Context, c, _ int) error {
		_, err := b.client(c, b.payers[rand.IntN(len(b.payers))].Key).Balance(ctx, fresh)
		return err
	})
	mode := "balance"
	if fresh {
		mode = "balance, fresh"
	}
	return m.done(ctx, mode, clients)
}

// Lost is how many kudos were acknowledged as sent and did not arrive. A transfer of unknown
// outcome may have arrived besides, so this errs on the side of zero only by those.
func (b *Bank) Lost(ctx context.Context) (int64, error) {
	var have atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for i, a := range b.gets {
		g.Go(func() error {
			kudos, err := b.client(i, a.Key).Balance(ctx, true)
			for try := 0; overloaded(err) && try < 20; try++ { // an election, perhaps
				pause(ctx, 250*time.Millisecond)
				kudos, err = b.client(i, a.Key).Balance(ctx, true)
			}
			have.Add(int64(kudos) - bankKudos)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return max(0, b.acked.Load()-have.Load()), nil
}

// Gaps is the longest time, in milliseconds, that passed between two successes while something
// was broken.
type Gaps struct{ Write, Read, Pop float64 }

// Through drives the given nodes with eight writers, readers and workers each for before+after,
// calls f in between, and returns the longest gaps.
func (b *Bank) Through(ctx context.Context, nodes []int, before, after time.Duration, f func() error) (Gaps, error) {
	window, cancel := context.WithTimeout(ctx, before+after)
	defer cancel()
	var write, read, pop gap
	var wg sync.WaitGroup
	for i := range 8 {
		c := nodes[i%len(nodes)]
		from, to := b.payers[i%len(b.payers)], b.gets[i%len(b.gets)]
		wg.Go(func() {
			write.loop(window, func(ctx context.Context) error {
				err := b.client(c, from.Key).Transfer(ctx, to.Alias, 1)
				if err == nil {
					b.acked.Add(1)
				}
				return err
			})
		})
		wg.Go(func() {
			read.loop(window, func(ctx context.Context) error { _, err := b.client(c, from.Key).Balance(ctx, false); return err })
		})
		wg.Go(func() {
			pop.loop(window, func(ctx context.Context) error {
				_, err := b.client(c, from.Key).Pop(ctx, rest.Text, rest.Pop{
					Name: fmt.Sprintf("hordenode-bank-%d", i), Models: []string{model}, BridgeAgent: "hordenode bench:1.0.0:https://hordenode.invalid/bench",
					Threads: 1, Amount: 1, NSFW: true, MaxLength: 512, MaxContextLength: 4096,
				})
				return err
			})
		})
	}
	pause(window, before)
	err := f()
	wg.Wait()
	return Gaps{write.longest(), read.longest(), pop.longest()}, errors.Join(err, context.Cause(ctx))
}

// Answers waits until a node answers a balance, and until it makes a transfer if write; it
// returns how long that took since start.
func (b *Bank) Answers(ctx context.Context, node int, write bool, start time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		try, end := context.WithTimeout(ctx, 250*time.Millisecond)
		var err error
		if write {
			if err = b.client(node, b.payers[0].Key).Transfer(try, b.gets[0].Alias, 1); err == nil {
				b.acked.Add(1)
			}
		} else {
			_, err = b.client(node, b.payers[0].Key).Balance(try, false)
		}
		end()
		if err == nil {
			return time.Since(start), nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("node %d does not answer: %w", node, err)
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// A gap is the longest time between two successes of many callers.
type gap struct{ last, most atomic.Int64 }

// tryFor is how long a caller of a gap waits before it asks again.
const tryFor = 200 * time.Millisecond

func (g *gap) loop(ctx context.Context, f func(context.Context) error) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, tryFor)
		err := f(try)
		cancel()
		if err != nil {
			pause(ctx, time.Millisecond)
			continue
		}
		g.success(time.Now().UnixNano())
	}
}

func (g *gap) success(now int64) {
	last := g.last.Swap(now)
	if last == 0 {
		return
	}
	for d := now - last; ; {
		if most := g.most.Load(); d <= most || g.most.CompareAndSwap(most, d) {
			return
		}
	}
}

func (g *gap) longest() float64 { return millis(time.Duration(g.most.Load())) }
