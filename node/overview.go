package node

import (
	"context"
	"encoding/hex"
	"sync"
	"syscall"
	"time"

	"hordenode/api/web"
	"hordenode/internal/horde"
)

// lookEvery is how often a node asks the others how they are, for the overview.
const lookEvery = 3 * time.Second

// reports are what the members last said of themselves.
type reports struct {
	mu sync.Mutex
	by map[horde.NodeID]report
}

func (r *reports) get(id horde.NodeID) report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[id]
}

// watch keeps reports, the load of this node and the age of its state up to date.
func (n *Node) watch(ctx context.Context) error {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		n.load.measure()
		by := map[horde.NodeID]report{n.self: n.report()}
		for _, p := range n.host.Peers() {
			if !p.Connected {
				continue
			}
			ask, cancel := context.WithTimeout(ctx, time.Second)
			if r, err := n.askStatus(ask, p.ID); err == nil {
				by[p.ID] = r
			}
			cancel()
		}
		n.reports.mu.Lock()
		n.reports.by = by
		n.reports.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Overview is what the web page shows: the federation as this node sees it.
func (n *Node) Overview() web.Overview {
	perf, totals, head := n.exchange.Performance(), n.ledger.Totals(), n.ledger.Head()
	o := web.Overview{
		Node: n.cfg.Name, Version: n.cfg.Version, Federation: n.fed.Cluster, Started: n.started, Leader: n.leaderName(),
		Workers: web.Workers{
			Image: perf.Workers, Text: perf.TextWorkers, Alchemy: perf.AlchemyWorkers,
			ImageThreads: perf.Threads, TextThreads: perf.TextThreads,
		},
		Queue: web.Queue{
			ImageRequests: perf.QueuedRequests, TextRequests: perf.QueuedTextRequests,
			Megapixelsteps: float64(perf.QueuedPixelsteps) / 1e6, Tokens: float64(perf.QueuedTokens),
		},
		Minute: web.Minute{
			Megapixelsteps: float64(perf.PastMinutePixelsteps) / 1e6, Tokens: float64(perf.PastMinuteTokens),
		},
		Totals: web.Totals{Users: totals.Users, Jobs: totals.Settled, KudosMoved: totals.Moved.Float()},
		Ledger: web.Ledger{Index: n.group.Applied(), Chain: hex.EncodeToString(head.Chain[:]), StaleMillis: n.staleness().Milliseconds()},
	}
	workers := n.exchange.WorkersByNode()
	for _, m := range n.MemberList() {
		if !m.Active {
			continue
		}
		r := n.reports.get(m.ID)
		node := web.Node{
			ID: string(m.ID), Name: m.Name, URL: m.URL, Role: m.Role, Version: r.Version,
			Self: m.ID == n.self, Connected: m.Connected, Workers: workers[m.ID], Requests: r.Requests, Region: r.Region,
		}
		if m.RTTMillis > 0 {
			node.RTTMillis = &m.RTTMillis
		}
		if r.Version != "" {
			node.Load = &r.Load
		}
		o.Nodes = append(o.Nodes, node)
	}
	return o
}

// A load is the share of a core that this process used lately.
type load struct {
	mu    sync.Mutex
	at    time.Time
	used  time.Duration
	share float64
}

func (l *load) measure() {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return // no figure is better than a wrong one
	}
	used, now := time.Duration(u.Utime.Nano()+u.Stime.Nano()), time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := now.Sub(l.at); !l.at.IsZero() && d > 0 {
		l.share = float64(used-l.used) / float64(d)
	}
	l.at, l.used = now, used
}

func (l *load) get() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.share
}
