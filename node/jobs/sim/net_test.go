package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/jobs/exchange"
)

// A network carries calls and gossip between processes in simulated time.
type network struct {
	flights sync.WaitGroup

	mu     sync.Mutex // guards all below
	rnd    *rand.Rand
	up     map[horde.NodeID]*process
	cut    map[pair]time.Time // since when
	links  map[pair]link
	loss   int           // of 1000 messages and answers
	twice  int           // of 1000 are repeated
	jitter time.Duration // on top of a millisecond
	old    []message     // some that were sent, to be replayed
}

type pair [2]horde.NodeID

func pairOf(a, b horde.NodeID) pair { return pair{min(a, b), max(a, b)} }

// A link is a connection as its two ends see it.
type link struct {
	a, b  *process
	since time.Time
}

type message struct {
	from  horde.NodeID
	topic string
	data  []byte
}

// notice is how long a cut link looks whole.
const notice = 5 * time.Second

var (
	errDown = errors.New("the node is down")
	errCut  = errors.New("the link is cut")
	errLost = errors.New("the stream broke")
)

func newNetwork(rnd *rand.Rand) *network {
	return &network{
		rnd: rnd, up: map[horde.NodeID]*process{}, cut: map[pair]time.Time{}, links: map[pair]link{},
		twice: 20, loss: 5, jitter: 8 * time.Millisecond,
	}
}

func (n *network) chance(perMille int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rnd.IntN(1000) < perMille
}

func (n *network) lossy() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rnd.IntN(1000) < n.loss
}

func (n *network) delay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Millisecond + time.Duration(n.rnd.Int64N(int64(n.jitter)+1))
}

func (n *network) isCut(a, b horde.NodeID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[pairOf(a, b)].IsZero()
}

func (n *network) running(id horde.NodeID) *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up[id]
}

func (n *network) sever(a, b horde.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[pairOf(a, b)].IsZero() {
		n.cut[pairOf(a, b)] = time.Now()
	}
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

// call has f done at another node, perhaps twice, and brings back its answer, perhaps not.
func (n *network) call(ctx context.Context, from *process, to horde.NodeID, f func(context.Context, *process) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := n.travel(ctx, from.id(), to); err != nil {
		return nil, err
	}
	if n.lossy() {
		return nil, errLost
	}
	p := n.running(to)
	if p == nil {
		return nil, errDown
	}
	times := 1
	if n.chance(n.twice) {
		times = 2
	}
	var answer []byte
	var err error
	for range times {
		if !p.enter() {
			return nil, errDown
		}
		answer, err = f(ctx, p)
		p.leave()
	}
	if p.ctx.Err() != nil || from.ctx.Err() != nil {
		return nil, errDown
	}
	if e := n.travel(ctx, to, from.id()); e != nil {
		return nil, e
	}
	if n.lossy() {
		return nil, errLost
	}
	return answer, err
}

func (n *network) travel(ctx context.Context, from, to horde.NodeID) error {
	pause(ctx, n.delay())
	if n.isCut(from, to) {
		<-ctx.Done()
		return errCut
	}
	return ctx.Err()
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// publish brings a message to everybody that can be reached: late, twice, out of order or not
// at all. Sometimes an old one comes again.
func (n *network) publish(from horde.NodeID, topic string, data []byte) {
	m := message{from, topic, slices.Clone(data)}
	n.mu.Lock()
	peers := make([]*process, 0, len(n.up))
	for id, p := range n.up {
		if id != from {
			peers = append(peers, p)
		}
	}
	slices.SortFunc(peers, func(a, b *process) int { return cmpID(a.id(), b.id()) })
	var again *message
	if len(n.old) < 256 {
		n.old = append(n.old, m)
	} else if i := n.rnd.IntN(len(n.old)); n.rnd.IntN(20) == 0 {
		replay := n.old[i]
		again = &replay
		n.old[i] = m
	}
	n.mu.Unlock()
	for _, p := range peers {
		n.fly(m, p)
		if n.chance(n.twice) {
			n.fly(m, p)
		}
		if again != nil && again.from != p.id() {
			n.fly(*again, p)
		}
	}
}

func (n *network) fly(m message, to *process) {
	if n.isCut(m.from, to.id()) || n.lossy() {
		return
	}
	late := n.delay()
	if n.chance(10) {
		late += 2 * time.Second
	}
	n.flights.Go(func() {
		pause(to.ctx, late)
		if to.enter() {
			to.hear(m)
			to.leave()
		}
	})
}

// watch notices connections that come and go, once a second.
func (n *network) watch(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, time.Second)
		var met [][2]*process
		now := time.Now()
		n.mu.Lock()
		ids := make([]horde.NodeID, 0, len(n.up))
		for id := range n.up {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for at, l := range n.links {
			since := n.cut[at]
			if n.up[at[0]] != l.a || n.up[at[1]] != l.b || !since.IsZero() && now.Sub(since) > notice {
				delete(n.links, at)
			}
		}
		for i, a := range ids {
			for _, b := range ids[i+1:] {
				at := pairOf(a, b)
				if _, ok := n.links[at]; !ok && n.cut[at].IsZero() {
					n.links[at] = link{n.up[at[0]], n.up[at[1]], now}
					met = append(met, [2]*process{n.up[a], n.up[b]})
				}
			}
		}
		for _, p := range n.up {
			p.note(n.links, now)
		}
		n.mu.Unlock()
		for _, m := range met {
			m[0].meet(m[1].id())
			m[1].meet(m[0].id())
		}
	}
}

// connected tells since when two nodes are connected; ok is false if they are not.
func (n *network) connected(a, b horde.NodeID) (since time.Time, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, ok := n.links[pairOf(a, b)]
	return l.since, ok
}

// hear takes in a message as pubsub hands it over.
func (p *process) hear(m message) {
	e := p.exchange
	for _, t := range []struct {
		name     string
		validate func(horde.NodeID, []byte) exchange.Verdict
		deliver  func(horde.NodeID, []byte)
	}{
		{exchange.TopicImage, e.ValidateImage, e.DeliverImage},
		{exchange.TopicText, e.ValidateText, e.DeliverText},
		{exchange.TopicAlchemy, e.ValidateAlchemy, e.DeliverAlchemy},
		{exchange.TopicNews, e.ValidateNews, e.DeliverNews},
	} {
		if t.name != m.topic {
			continue
		}
		switch t.validate(m.from, m.data) {
		case exchange.Accept:
			t.deliver(m.from, m.data)
		case exchange.Reject:
			p.n.s.wrong("%s rejects a message on %s of %s, which is honest", p.id(), m.topic, m.from)
		}
	}
}
