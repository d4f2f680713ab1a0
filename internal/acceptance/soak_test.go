//go:build faults

package acceptance

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSoak runs three nodes under half of the load that they can bear, for as long as SOAK
// says (make soak: an hour), and kills one of them every minute, at random, with kill -9. At
// the end every invariant of check holds, and memory, goroutines, files and disk did not grow
// from the second quarter of the time to the last.
func TestSoak(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("takes an hour: make soak, or SOAK=8m")
	}
	lasts, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil || lasts < 4*time.Minute {
		t.Fatalf("SOAK=%q: want a duration of four minutes at least (%v)", os.Getenv("SOAK"), err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))

	nodes := make([]*process, 3)
	for i := range nodes {
		nodes[i] = newProcess(t, string(rune('a'+i)), "--archive") // so that every settlement can be counted at the end
		nodes[i].serveMetrics()
	}
	found(nodes)
	x := newTrial(t, nodes)
	peak := peakRate(x)
	l := startWatched("soak", nodes, x.client, x.owner, peak/2)
	x.loads = append(x.loads, l)
	x.moves(l, 5)
	t.Logf("%.0f results a second at most, so %.0f a second from now on", peak, peak/2)

	m := &meter{t: t, nodes: nodes}
	began := time.Now()
	for next := began.Add(minuteOf(rnd)); time.Since(began) < lasts; {
		if time.Now().After(next) {
			victim := nodes[rnd.IntN(len(nodes))]
			victim.kill()
			m.kills++
			away := time.Now()
			x.moves(l, 3) // the others go on
			m.worst = max(m.worst, time.Since(away))
			victim.start()
			connected(t, 60*time.Second, nodes)
			next = next.Add(time.Minute)
		}
		m.sample(time.Since(began), l)
		time.Sleep(2 * time.Second) // how often is measured
	}
	m.report(lasts)
	x.check()
}

// minuteOf is when in the first minute a node is killed.
func minuteOf(rnd *rand.Rand) time.Duration {
	return 20*time.Second + time.Duration(rnd.Int64N(int64(20*time.Second)))
}

// peakRate measures how many results a second the nodes deliver to as many clients and
// workers as keep them busy.
func peakRate(x *trial) float64 {
	x.t.Helper()
	const lasts = 10 * time.Second
	l := startWatched("peak", x.nodes, x.client, x.owner, 0)
	x.loads = append(x.loads, l)
	x.moves(l, 20)
	began, before := time.Now(), l.submitted.Load()
	time.Sleep(lasts) // how long is measured
	rate := float64(l.submitted.Load()-before) / time.Since(began).Seconds()
	l.finish()
	return rate
}

// A meter takes samples of what must not grow.
type meter struct {
	t       *testing.T
	nodes   []*process
	samples []sample
	kills   int
	worst   time.Duration // until three results were delivered after a kill
}

// A sample is of one node.
type sample struct {
	at         time.Duration
	up         float64 // seconds since the process was started
	rss        float64 // bytes
	goroutines float64
	files      float64
	disk       float64 // bytes, without the archive, which keeps everything on purpose
	results    int64   // of all nodes so far
}

func (m *meter) sample(at time.Duration, l *load) {
	m.t.Helper()
	for _, n := range m.nodes {
		s := sample{at: at, results: l.submitted.Load()}
		for name, to := range map[string]*float64{
			"process_resident_memory_bytes": &s.rss, "go_goroutines": &s.goroutines,
			"process_open_fds": &s.files, "process_start_time_seconds": &s.up,
		} {
			v, err := n.metric(name)
			if err != nil {
				m.t.Fatalf("%s: %v", n.name, err)
			}
			*to = v
		}
		s.up = float64(time.Now().Unix()) - s.up
		s.disk = diskUse(n.data)
		m.samples = append(m.samples, s)
	}
}

// diskUse sums the blocks of the files of a data directory that are not kept on purpose.
// Files come and go meanwhile.
func diskUse(dir string) (bytes float64) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // it is gone
		case d.IsDir() && d.Name() == "archive":
			return filepath.SkipDir
		case d.Type().IsRegular() && d.Name() != "ballast":
			if info, err := d.Info(); err == nil {
				bytes += float64(allocated(info))
			}
		}
		return nil
	})
	return bytes
}

// report prints a line for each quarter of the time, means of a node, and compares the last
// with the second: the first warms up.
func (m *meter) report(lasts time.Duration) {
	const mib = 1 << 20
	var quarters [4]sample
	var counts [4]float64
	for _, s := range m.samples {
		q := min(int(4*s.at/lasts), 3)
		counts[q]++
		quarters[q].rss += s.rss
		quarters[q].goroutines += s.goroutines
		quarters[q].files += s.files
		quarters[q].disk += s.disk
		quarters[q].results = max(quarters[q].results, s.results)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "means of a node in each quarter of %v, %d kills, 3 results again %v after the worst\n", lasts, m.kills, m.worst.Round(time.Millisecond))
	fmt.Fprintf(&b, "%-8s %10s %11s %6s %10s %9s\n", "quarter", "RSS MiB", "goroutines", "files", "disk MiB", "results")
	for q := range quarters {
		s := &quarters[q]
		for _, v := range []*float64{&s.rss, &s.goroutines, &s.files, &s.disk} {
			*v /= max(counts[q], 1)
		}
		fmt.Fprintf(&b, "%-8d %10.1f %11.0f %6.0f %10.1f %9d\n", q+1, s.rss/mib, s.goroutines, s.files, s.disk/mib, s.results)
	}
	fmt.Fprintf(&b, "slope of RSS: %+.1f MiB an hour", m.slope()/mib)
	m.t.Log(b.String())
	second, last := quarters[1], quarters[3]
	results := float64(last.results - second.results)
	for _, c := range []struct {
		what              string
		had, has, allowed float64
	}{
		{"RSS", second.rss, last.rss, 0.25*second.rss + 32*mib},
		{"goroutines", second.goroutines, last.goroutines, 0.25*second.goroutines + 50},
		{"open files", second.files, last.files, 0.25*second.files + 20},
		// Requests are kept for 20 minutes and longer, and the log up to 70,000 entries.
		{"disk", second.disk, last.disk, 0.25*second.disk + 64*mib + min(results, 100_000)*8192},
	} {
		if c.has > c.had+c.allowed {
			m.t.Errorf("%s went from %.0f to %.0f, want at most %.0f more", c.what, c.had, c.has, c.allowed)
		}
	}
}

// slope fits a line to the RSS of processes that are up for half a minute at least, in bytes
// an hour.
func (m *meter) slope() float64 {
	var n, sx, sy, sxx, sxy float64
	for _, s := range m.samples {
		if s.up < 30 {
			continue
		}
		h := s.at.Hours()
		n, sx, sy, sxx, sxy = n+1, sx+h, sy+s.rss, sxx+h*h, sxy+h*s.rss
	}
	if d := n*sxx - sx*sx; d > 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}
