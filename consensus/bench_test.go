package consensus

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ledgerLike costs about what a ledger does for each proposal: two keys change.
type ledgerLike struct {
	accounts [1 << 16]uint64
	dirty    map[string][]byte
	index    uint64
	chain    [32]byte
}

func (l *ledgerLike) Apply(index uint64, _ int64, entry [32]byte, proposals [][]byte) ([][]byte, error) {
	l.index = index
	l.chain = sha256.Sum256(append(l.chain[:], entry[:]...))
	answers := make([][]byte, len(proposals))
	for i, p := range proposals {
		for _, a := range []uint16{binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])} {
			l.accounts[a]++
			v := make([]byte, 100)
			binary.BigEndian.PutUint64(v, l.accounts[a])
			l.dirty[string([]byte{'a', byte(a >> 8), byte(a)})] = v
		}
		answers[i] = p[:4]
	}
	return answers, nil
}
func (l *ledgerLike) Dirty() int { return len(l.dirty) }
func (l *ledgerLike) Changes() (map[string][]byte, uint64) {
	d := l.dirty
	l.dirty = make(map[string][]byte, len(d))
	return d, l.index
}
func (l *ledgerLike) Load(uint64, iter.Seq2[[]byte, []byte]) error {
	l.dirty = map[string][]byte{}
	return nil
}

// BenchmarkPropose measures synced commits of 256 bytes on a quorum, answered after they are
// applied. The client, three nodes and six databases share the machine.
func BenchmarkPropose(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		for _, clients := range []int{1, 64, 1000} {
			b.Run(fmt.Sprintf("nodes=%d/clients=%d", nodes, clients), func(b *testing.B) { benchmark(b, nodes, clients) })
		}
	}
}

func benchmark(b *testing.B, nodes, clients int) {
	net, root := newMemNet(), b.TempDir()
	var groups []*Group
	defer func() {
		for _, g := range groups {
			if err := g.Close(); err != nil {
				b.Error(err)
			}
		}
	}()
	for i := range nodes {
		id := string(rune('a' + i))
		g, err := open(Config{Dir: root + "/" + id, Self: id, Streams: net.join(id)}, &ledgerLike{}, LAN.tuning())
		if err != nil {
			b.Fatal(err)
		}
		groups = append(groups, g)
		if i == 0 {
			if err := g.Bootstrap(); err != nil {
				b.Fatal(err)
			}
			waitFor(b, "leadership", g.IsLeader)
			continue
		}
		if err := groups[0].AddLearner(id); err != nil {
			b.Fatal(err)
		}
		if err := groups[0].Promote(id); err != nil {
			b.Fatal(err)
		}
	}
	l := groups[0]
	var next atomic.Int64
	took := make([]time.Duration, b.N)
	before := l.Stats().LastLog
	b.ResetTimer()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				p := make([]byte, 256)
				binary.BigEndian.PutUint64(p, uint64(i)*0x9E3779B97F4A7C15)
				start := time.Now()
				if _, _, err := l.Propose(b.Context(), p); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(b.N)/float64(l.Stats().LastLog-before), "per-entry")
	b.ReportMetric(float64(took[b.N/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds()), "p99-µs")
}

// BenchmarkArchive is what an archive costs a group of one: 64 clients, 256 bytes.
func BenchmarkArchive(b *testing.B) {
	for _, archive := range []bool{false, true} {
		b.Run(fmt.Sprintf("archive=%v", archive), func(b *testing.B) {
			dir := b.TempDir()
			cfg := Config{Dir: dir, Self: "a", Streams: newMemNet().join("a")}
			if archive {
				cfg.Archive = dir + "/archive"
			}
			g, err := Open(cfg, &ledgerLike{dirty: map[string][]byte{}})
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close()
			if err := g.Bootstrap(); err != nil {
				b.Fatal(err)
			}
			for !g.IsLeader() {
				<-g.LeaderChanges()
			}
			var n atomic.Uint64
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p := make([]byte, 256)
					binary.BigEndian.PutUint64(p, n.Add(1)*0x9e3779b97f4a7c15)
					if _, _, err := g.Propose(b.Context(), p); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
