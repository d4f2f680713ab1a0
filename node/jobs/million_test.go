package jobs

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// BenchmarkMillion fills a home with queued requests and measures what they cost: memory
// each, and the time until a home that is opened again serves, and has all of them. The
// variable JOBS_MILLION names a folder where the home is kept for the next run, JOBS_REQUESTS
// is how many.
func BenchmarkMillion(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("JOBS_REQUESTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	dir := os.Getenv("JOBS_MILLION")
	if dir == "" {
		dir = b.TempDir()
	}
	bk := newBooks()
	bk.users[alice] = horde.User{ID: alice}
	open := func() *Home {
		h, err := Open(Config{Dir: dir, Self: self, Ledger: bk, Pricer: flat{10},
			Matcher: func(Candidate, *horde.Request, horde.User) string { return "" }})
		if err != nil {
			b.Fatal(err)
		}
		return h
	}
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST")); err != nil {
		h := open()
		began := time.Now()
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 512 {
			wg.Go(func() {
				for next.Add(1) <= int64(n) {
					q := benchRequest(b, 1)
					q.Body = q.Body[:300]                        // it stays on disk
					q.Created = time.Now().Add(1000 * time.Hour) // none expires meanwhile
					if _, err := h.Accept(context.Background(), q); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if err := h.Outbox().Done(h.store.out.last()); err != nil { // the ledger has their admissions
			b.Fatal(err)
		}
		b.Logf("filled in %v", time.Since(began))
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
	before := heapInUse()
	b.ResetTimer()
	for range b.N {
		h := open()
		b.ReportMetric(b.Elapsed().Seconds(), "s-to-serve")
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- h.Run(ctx) }()
		if err := h.awaitRead(ctx); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(b.Elapsed().Seconds(), "s-to-all")
		cancel()
		if err := <-ran; err != nil {
			b.Fatal(err)
		}
		if got := h.Counters().Requests; got != n {
			b.Fatalf("%d requests were read, want %d", got, n)
		}
		b.StopTimer()
		b.ReportMetric(float64(heapInUse()-before)/float64(n), "B/request")
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
