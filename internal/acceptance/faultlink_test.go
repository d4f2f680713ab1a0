//go:build faults

package acceptance

import (
	"container/heap"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// A fault is what a link does to the packets that go one way. The zero value is a good link.
type fault struct {
	loss      float64       // share of the packets that vanish; 1 is a cut
	delay     time.Duration // of every packet
	jitter    time.Duration // at most so much more, in order
	reorder   float64       // share of the packets that come late, after others
	duplicate float64       // share of the packets that come twice
	rate      int           // bits per second; 0: no limit
}

var cutOff = fault{loss: 1}

// maxBacklog is how long a packet waits for a slow line at most: what would wait longer is
// dropped, as by a router with a full queue.
const maxBacklog = 400 * time.Millisecond

// A link carries packets one way, from one node to another. Its faults are drawn from a seed.
//
//	reader of the sender's tun ──► send ──► packets by due time ──► run ──► receiver's tun
type link struct {
	out  io.Writer
	wake chan struct{}

	mu    sync.Mutex // guards the fields below
	now   fault
	rnd   *rand.Rand
	idle  time.Time // when the line has sent what it has
	last  time.Time // when the last packet in order is due
	seq   int
	queue packets
}

func newLink(out io.Writer, seed uint64) *link {
	return &link{out: out, wake: make(chan struct{}, 1), rnd: rand.New(rand.NewPCG(seed, 18))}
}

func (l *link) set(f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = f
}

// send passes a packet on, or not. It keeps no reference to p.
func (l *link) send(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.now
	if f.loss > 0 && l.rnd.Float64() < f.loss {
		return
	}
	if f == (fault{loss: f.loss}) && len(l.queue) == 0 {
		_, _ = l.out.Write(p) // a device that is gone is a cut too
		return
	}
	now := time.Now()
	due := now.Add(f.delay)
	if f.jitter > 0 {
		due = due.Add(time.Duration(l.rnd.Int64N(int64(f.jitter))))
	}
	if f.rate > 0 {
		if l.idle.Before(now) {
			l.idle = now
		}
		if l.idle.Sub(now) > maxBacklog {
			return
		}
		l.idle = l.idle.Add(time.Duration(len(p)) * 8 * time.Second / time.Duration(f.rate))
		due = due.Add(l.idle.Sub(now))
	}
	if f.reorder > 0 && l.rnd.Float64() < f.reorder {
		due = due.Add(f.jitter + 5*time.Millisecond) // others overtake it
	} else {
		if due.Before(l.last) {
			due = l.last
		}
		l.last = due
	}
	copies := 1
	if f.duplicate > 0 && l.rnd.Float64() < f.duplicate {
		copies = 2
	}
	b := append([]byte(nil), p...)
	for range copies {
		l.seq++
		heap.Push(&l.queue, packet{due, l.seq, b})
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run delivers what waits, when it is due, until stop is closed.
func (l *link) run(stop <-chan struct{}) {
	for {
		next := time.Hour
		l.mu.Lock()
		for len(l.queue) > 0 {
			if next = time.Until(l.queue[0].due); next > 0 {
				break
			}
			_, _ = l.out.Write(heap.Pop(&l.queue).(packet).b) // as in send
			next = time.Hour
		}
		l.mu.Unlock()
		timer := time.NewTimer(next)
		select {
		case <-stop:
			timer.Stop()
			return
		case <-l.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

type packet struct {
	due time.Time
	seq int
	b   []byte
}

// packets is a heap by due time.
type packets []packet

func (q packets) Len() int { return len(q) }
func (q packets) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].seq < q[j].seq
	}
	return q[i].due.Before(q[j].due)
}
func (q packets) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *packets) Push(x any)   { *q = append(*q, x.(packet)) }
func (q *packets) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}
