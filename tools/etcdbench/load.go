package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	valueSize = 100 // bytes, about what a transfer is in hordenode's log
	batchSize = 128 // puts of a transaction: etcd's limit, unless it is started with another
	conns     = 16  // gRPC connections that clients share: one is the bottleneck at 1000 clients
)

func key(i int) string { return fmt.Sprintf("account-%08d", i) }

// drive runs op in closed loops, one a client, and counts n operations for each call.
func (c *cluster) drive(ctx context.Context, q question, n int, op func(context.Context, *clientv3.Client, *rand.Rand) error) (answer, error) {
	if q.Clients < 1 || q.Seconds <= 0 {
		return answer{}, fmt.Errorf("%s needs clients and seconds", q.Op)
	}
	var pool []*clientv3.Client
	defer func() {
		for _, p := range pool {
			_ = p.Close() // nothing waits on it any more
		}
	}()
	for range min(q.Clients, conns) {
		p, err := c.dial(c.members...)
		if err != nil {
			return answer{}, err
		}
		pool = append(pool, p)
		if _, err := p.Get(ctx, "started"); err != nil { // connects
			return answer{}, err
		}
	}
	window, cancel := context.WithTimeout(ctx, time.Duration(q.Seconds*float64(time.Second)))
	defer cancel()
	var mu sync.Mutex // guards took and a
	var took []time.Duration
	var a answer
	var wg sync.WaitGroup
	start := time.Now()
	for i := range q.Clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			var mine []time.Duration
			failed, text := 0, ""
			for window.Err() == nil {
				began := time.Now()
				if err := op(ctx, pool[i%len(pool)], rnd); err != nil {
					failed++
					text = err.Error()
					continue
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			a.Errors += failed
			if text != "" {
				a.Error = text
			}
		})
	}
	wg.Wait()
	a.Seconds = time.Since(start).Seconds()
	a.Ops = n * len(took)
	slices.Sort(took)
	if len(took) > 0 {
		a.P50 = millis(took[(len(took)*50+99)/100-1])
		a.P99 = millis(took[(len(took)*99+99)/100-1])
	}
	return a, nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

var value = string(make([]byte, valueSize))

func (c *cluster) put(ctx context.Context, q question) (answer, error) {
	keys := max(q.Keys, 1)
	return c.drive(ctx, q, 1, func(ctx context.Context, p *clientv3.Client, rnd *rand.Rand) error {
		_, err := p.Put(ctx, key(rnd.IntN(keys)), value)
		return err
	})
}

// batch puts batchSize different keys in one transaction.
func (c *cluster) batch(ctx context.Context, q question) (answer, error) {
	keys := max(q.Keys, batchSize)
	return c.drive(ctx, q, batchSize, func(ctx context.Context, p *clientv3.Client, rnd *rand.Rand) error {
		at := rnd.IntN(keys)
		ops := make([]clientv3.Op, batchSize)
		for i := range ops {
			ops[i] = clientv3.OpPut(key((at+i)%keys), value)
		}
		_, err := p.Txn(ctx).Then(ops...).Commit()
		return err
	})
}

func (c *cluster) get(ctx context.Context, q question) (answer, error) {
	keys := max(q.Keys, 1)
	var opts []clientv3.OpOption
	if q.Stale {
		opts = append(opts, clientv3.WithSerializable())
	}
	return c.drive(ctx, q, 1, func(ctx context.Context, p *clientv3.Client, rnd *rand.Rand) error {
		_, err := p.Get(ctx, key(rnd.IntN(keys)), opts...)
		return err
	})
}

// fill puts every one of n keys, in transactions.
func (c *cluster) fill(ctx context.Context, n int) (answer, error) {
	var next atomic.Int64
	start := time.Now()
	errs := make(chan error, 16)
	for range cap(errs) {
		go func() { errs <- c.fillSome(ctx, &next, n) }()
	}
	var first error
	for range cap(errs) {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return answer{Ops: n, Seconds: time.Since(start).Seconds()}, first
}

func (c *cluster) fillSome(ctx context.Context, next *atomic.Int64, n int) error {
	for {
		from := int(next.Add(batchSize)) - batchSize
		if from >= n {
			return nil
		}
		var ops []clientv3.Op
		for i := from; i < min(from+batchSize, n); i++ {
			ops = append(ops, clientv3.OpPut(key(i), value))
		}
		if _, err := c.client.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
	}
}
