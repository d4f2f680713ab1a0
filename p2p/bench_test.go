package p2p

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func BenchmarkCall(b *testing.B) {
	for _, transport := range []string{"tcp", "quic"} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", transport, callers), func(b *testing.B) {
				cfg := testConfig(b)
				cfg.Listen = map[string][]string{
					"tcp": {"/ip4/127.0.0.1/tcp/0"}, "quic": {"/ip4/127.0.0.1/udp/0/quic-v1"},
				}[transport]
				from, to := startNode(b), start(b, cfg)
				to.Handle(echo, Limits{}, answerEcho)
				meet(b, from, to)
				req := make([]byte, 256)
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ResetTimer()
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := from.Call(b.Context(), to.ID(), echo, req); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// BenchmarkGossip tells what a 120-byte message costs on all links of a small federation
// (performance.md row P19).
func BenchmarkGossip(b *testing.B) {
	for _, nodes := range []int{3, 7} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			var all []*node
			var topics []*listener
			for range nodes {
				cfg := testConfig(b)
				cfg.Members, cfg.Heartbeat = nodes, time.Second
				n := start(b, cfg)
				topics = append(topics, join(b, n, "o/text"))
				for _, other := range all {
					meet(b, n, other)
				}
				all = append(all, n)
			}
			publishUntil(b, all[0], topics[0], topics[1:]...)
			sent := func() (bytes uint64) {
				for _, n := range all {
					bytes += n.GossipStats().SentBytes
				}
				return bytes
			}
			before, i := sent(), 0
			for b.Loop() {
				publishAndWait(b, all[0], topics[0], fmt.Sprintf("%0120d", i), topics[1:]...)
				i++
			}
			b.ReportMetric(float64(sent()-before)/float64(i), "B/msg")
		})
	}
}
