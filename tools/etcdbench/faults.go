package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// killLeader kills the leader under eight writers and eight readers and answers the longest
// time without a write, and without a read, of the survivors. The leader comes back afterwards.
func (c *cluster) killLeader(ctx context.Context) (a answer, err error) {
	victim, err := c.leader(ctx)
	if err != nil {
		return a, err
	}
	var others []*member
	for _, m := range c.members {
		if m != victim {
			others = append(others, m)
		}
	}
	client, err := c.dial(others...)
	if err != nil {
		return a, err
	}
	defer client.Close()
	const before, after = 500 * time.Millisecond, 4 * time.Second
	window, cancel := context.WithTimeout(ctx, before+after)
	defer cancel()
	var write, read gap
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			write.loop(window, func(ctx context.Context) error { _, err := client.Put(ctx, key(i), value); return err })
		})
		wg.Go(func() {
			read.loop(window, func(ctx context.Context) error {
				_, err := client.Get(ctx, key(i), clientv3.WithSerializable())
				return err
			})
		})
	}
	time.Sleep(before)
	victim.kill()
	wg.Wait()
	a.Write, a.Read = write.longest(), read.longest()
	if err := victim.launch(); err != nil {
		return a, err
	}
	return a, until(ctx, startFor, func(ctx context.Context) error { _, err := c.client.Status(ctx, victim.url); return err })
}

// A gap is the longest time between two successes of many callers.
type gap struct{ last, most atomic.Int64 }

func (g *gap) loop(ctx context.Context, f func(context.Context) error) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		err := f(try)
		cancel()
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		now := time.Now().UnixNano()
		if last := g.last.Swap(now); last > 0 {
			for d := now - last; ; {
				most := g.most.Load()
				if d <= most || g.most.CompareAndSwap(most, d) {
					break
				}
			}
		}
	}
}

func (g *gap) longest() float64 { return millis(time.Duration(g.most.Load())) }

// killOne kills a follower and answers how long after its start it serves reads of its own.
func (c *cluster) killOne(ctx context.Context) (a answer, err error) {
	leader, err := c.leader(ctx)
	if err != nil {
		return a, err
	}
	victim := c.members[0]
	if victim == leader {
		victim = c.members[1]
	}
	victim.kill()
	client, err := c.dial(victim)
	if err != nil {
		return a, err
	}
	defer client.Close()
	start := time.Now()
	if err := victim.launch(); err != nil {
		return a, err
	}
	err = until(ctx, startFor, func(ctx context.Context) error {
		_, err := client.Get(ctx, key(1), clientv3.WithSerializable())
		return err
	})
	a.Read = millis(time.Since(start))
	return a, err
}

// killAll kills all members at once and answers how long after their start there is a read,
// and a write.
func (c *cluster) killAll(ctx context.Context) (a answer, err error) {
	for _, m := range c.members {
		m.kill()
	}
	client, err := c.dial(c.members...)
	if err != nil {
		return a, err
	}
	defer client.Close()
	start := time.Now()
	for _, m := range c.members {
		if err := m.launch(); err != nil {
			return a, err
		}
	}
	if err := until(ctx, 2*startFor, func(ctx context.Context) error {
		_, err := client.Get(ctx, key(1), clientv3.WithSerializable())
		return err
	}); err != nil {
		return a, err
	}
	a.Read = millis(time.Since(start))
	err = until(ctx, 2*startFor, func(ctx context.Context) error { _, err := client.Put(ctx, key(1), value); return err })
	a.Write = millis(time.Since(start))
	return a, err
}
