package jobs

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// benchHome is a home with a real clock and no watcher.
func benchHome(b *testing.B) (*Home, horde.WorkerID) {
	b.Helper()
	bk := newBooks()
	h, err := Open(Config{Dir: b.TempDir(), Self: self, Ledger: bk, Pricer: flat{10},
		Matcher: func(Candidate, *horde.Request, horde.User) string { return "" }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := h.Close(); err != nil {
			b.Error(err)
		}
	})
	bk.users[alice] = horde.User{ID: alice}
	return h, bk.worker(1, bob, func(w *horde.Worker) { w.Kind = horde.KindText })
}

func benchRequest(b *testing.B, slots int) horde.Request {
	id, err := horde.NewRequestID(self.Tag(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	return horde.Request{
		ID: id, Kind: horde.KindText, Payer: alice, Slots: slots, Things: 80, TTL: 150,
		Quote: horde.Quote{Tax: 100}, Body: make([]byte, 3000), Created: time.Now(),
		Shape: horde.Shape{Kind: horde.KindText, Models: []string{"m"}, MaxLength: 80},
	}
}

// atOnce runs f b.N times from n goroutines.
func atOnce(b *testing.B, n int, f func(i int)) {
	b.SetParallelism((n + 1) / 2) // times GOMAXPROCS, 2 where it is measured
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f(int(next.Add(1) - 1))
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func BenchmarkAccept(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h, _ := benchHome(b)
			atOnce(b, n, func(int) {
				if _, err := h.Accept(context.Background(), benchRequest(b, 1)); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

func BenchmarkClaimSubmit(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h, worker := benchHome(b)
			ids := make([]horde.RequestID, b.N)
			var fill atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					q := benchRequest(b, 1)
					if _, err := h.Accept(context.Background(), q); err != nil {
						b.Error(err)
					}
					ids[fill.Add(1)-1] = q.ID
				}
			})
			result := make([]byte, 400)
			atOnce(b, n, func(i int) {
				a, err := h.Claim(context.Background(), horde.Claim{Nonce: [16]byte(ids[i].UUID), Worker: worker, Amount: 1, Want: ids[i : i+1]})
				if err != nil || a.Grant == nil {
					b.Errorf("Claim = %+v, %v", a, err)
					return
				}
				if _, err := h.Submit(context.Background(), horde.Submission{Job: a.Grant.Jobs[0], By: bob, Result: result}); err != nil {
					b.Error(err)
				}
			})
		})
	}
}
