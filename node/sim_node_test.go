package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"hordenode/consensus"
	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/jobs"
)

// A simNode is a member in a simulation. What is in it survives crashes; what is in live does not.
type simNode struct {
	s      *sim
	id     horde.NodeID
	key    ed25519.PrivateKey
	rnd    *rand.ChaCha8
	boot   uint64
	outbox *simOutbox
	images int
	dir    string       // of the ledger; a crash leaves it to the process that died
	slow   atomic.Int64 // how long a write to the log takes, in nanoseconds
	skew   atomic.Int64 // by how much its clock is wrong
	live   atomic.Pointer[simLive]
}

// A simLive is a running process of a node.
type simLive struct {
	machine  *ledger.Machine
	group    *consensus.Group
	proposer *proposer
	client   *ledger.Client
	stop     context.CancelFunc
	done     chan error
	dying    atomic.Bool
}

func (s *sim) newNode(name string) *simNode {
	seed := sha256.Sum256([]byte(fmt.Sprint(s.seed, name)))
	return &simNode{
		s: s, id: horde.NodeID(name), key: ed25519.NewKeyFromSeed(seed[:]), rnd: rand.NewChaCha8(seed),
		outbox: &simOutbox{wake: make(chan struct{}, 1)}, dir: filepath.Join(s.dir, name, "0"),
	}
}

func (n *simNode) sign(b []byte) []byte { return ed25519.Sign(n.key, b) }

func (n *simNode) member() horde.Member {
	return horde.Member{ID: n.id, Name: string(n.id), PublicKey: n.key.Public().(ed25519.PublicKey), URL: "http://" + string(n.id)}
}

// start runs the node on what its directory holds.
func (n *simNode) start() error {
	l := &simLive{machine: ledger.NewMachine(), done: make(chan error, 1)}
	if n.s.forgetful {
		l.machine.Forgetful()
	}
	var err error
	l.group, err = consensus.Open(consensus.Config{
		Dir: n.dir, Self: string(n.id), Streams: n.s.net.join(string(n.id)), Log: n.s.log.With("node", n.id),
		ClosePeer: func(peer string) {
			n.s.net.reset(func(c *simConn) bool {
				return c.out.from == string(n.id) && c.out.to == peer || c.out.from == peer && c.out.to == string(n.id)
			})
		},
		Now:           func() time.Time { return time.Now().Add(time.Duration(n.skew.Load())) },
		SnapshotAfter: 40, Trailing: 20,
		BeforeWrite: func() {
			if d := n.slow.Load(); d > 0 && !l.dying.Load() {
				time.Sleep(time.Duration(d))
			}
		},
	}, poisonable{l.machine, n.s.poison})
	if err != nil {
		return fmt.Errorf("start %s: %w", n.id, err)
	}
	n.boot++
	sync := &barrier{run: func(ctx context.Context) error { return n.sync(ctx, l) }}
	l.proposer = &proposer{
		self: n.id, cluster: n.s.cluster, boot: n.boot, sign: n.sign,
		allowed: l.machine.Reader().Allowed,
		deliver: func(ctx context.Context, batch []byte) (uint64, []byte, error) { return n.deliver(ctx, l, batch) },
		applied: l.group.WaitApplied, spread: func(context.Context, uint64) {}, barrier: sync.Wait,
		log: n.s.log, calls: make(chan *call, maxQueued), outbox: n.outbox,
	}
	l.client = ledger.NewClient(l.machine, l.proposer, n.rnd)
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go func() { l.done <- l.proposer.Run(ctx) }()
	n.live.Store(l)
	return nil
}

// poisonable is a machine with a mistake: it panics at an entry that holds the poison.
type poisonable struct {
	*ledger.Machine
	poison []byte // nil: none
}

func (p poisonable) Apply(index uint64, stamp int64, entry [32]byte, proposals [][]byte) ([][]byte, error) {
	for _, b := range proposals {
		if p.poison != nil && bytes.Contains(b, p.poison) {
			panic("a mistake in a command")
		}
	}
	return p.Machine.Apply(index, stamp, entry, proposals)
}

// crash ends the process in the middle of everything: nothing that it sends from now on
// arrives, and the next start finds what was on the disk at this moment.
func (n *simNode) crash() error {
	l := n.live.Swap(nil)
	if l == nil {
		return nil
	}
	l.dying.Store(true) // nobody hears from it any more, not even its own clients
	n.s.net.leave(string(n.id))
	synctest.Wait() // all others stand still: the image is of one moment
	n.images++
	image := filepath.Join(n.s.dir, string(n.id), fmt.Sprint(n.images))
	if err := copySparse(n.dir, image); err != nil {
		return err
	}
	old := n.dir
	n.dir = image
	if err := n.end(l); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// end closes a process.
func (n *simNode) end(l *simLive) error {
	l.stop()
	err := <-l.done
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, l.group.Close())
}

// propose is what Node.propose does: the leader's own check, then the log.
func (l *simLive) propose(ctx context.Context, batch []byte) ([]byte, error) {
	if err := l.client.Readable(batch); err != nil {
		return nil, err
	}
	index, answer, err := l.group.Propose(ctx, batch)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint64(nil, index), answer...), nil
}

// at has f done by the leader.
func (n *simNode) at(ctx context.Context, l *simLive, f func(context.Context, *simLive) ([]byte, error)) ([]byte, error) {
	if l.group.IsLeader() {
		return l.answer(ctx, f)
	}
	leader, ok := l.group.Leader()
	if !ok || leader == string(n.id) {
		return nil, errNoLeader
	}
	return n.s.net.call(ctx, string(n.id), leader, func(ctx context.Context) ([]byte, error) {
		far := n.s.node(leader).live.Load()
		if far == nil {
			return nil, errSimDown
		}
		return far.answer(ctx, f)
	})
}

// answer does f, unless the process dies meanwhile: then what it did may not be on the disk.
func (l *simLive) answer(ctx context.Context, f func(context.Context, *simLive) ([]byte, error)) ([]byte, error) {
	b, err := f(ctx, l)
	if l.dying.Load() {
		return nil, errSimDown
	}
	return b, err
}

func (n *simNode) deliver(ctx context.Context, l *simLive, batch []byte) (uint64, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, rpcFor)
	defer cancel()
	resp, err := n.at(ctx, l, func(ctx context.Context, leader *simLive) ([]byte, error) { return leader.propose(ctx, batch) })
	if err != nil {
		return 0, nil, err
	}
	return binary.BigEndian.Uint64(resp), resp[8:], nil
}

func (n *simNode) sync(ctx context.Context, l *simLive) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := n.at(ctx, l, func(ctx context.Context, leader *simLive) ([]byte, error) {
		index, err := leader.group.Barrier(ctx)
		return binary.BigEndian.AppendUint64(nil, index), err
	})
	if err != nil {
		return err
	}
	return l.group.WaitApplied(ctx, binary.BigEndian.Uint64(resp))
}

// A simOutbox is durable: it outlives crashes.
type simOutbox struct {
	mu    sync.Mutex // guards all below
	items []jobs.Item
	last  uint64
	wake  chan struct{}
}

func (o *simOutbox) add(cmds ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range cmds {
		o.last++
		o.items = append(o.items, jobs.Item{N: o.last, Data: c})
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *simOutbox) Pending(after uint64, most int) (out []jobs.Item, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, it := range o.items {
		if it.N > after && len(out) < most {
			out = append(out, it)
		}
	}
	return out, nil
}

func (o *simOutbox) Done(upTo uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.items) > 0 && o.items[0].N <= upTo {
		o.items = o.items[1:]
	}
	return nil
}

func (o *simOutbox) Wait() <-chan struct{} { return o.wake }

func (o *simOutbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.items) == 0
}

// copySparse copies a directory; blocks of zeros stay holes.
func copySparse(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copySparseFile(path, filepath.Join(to, rel))
	})
}

func copySparseFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	block, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := io.ReadFull(in, block)
		if n > 0 && !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := out.WriteAt(block[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}

// simLog is quiet unless HORDENODE_TEST_LOG names a level.
func simLog() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv("HORDENODE_TEST_LOG"))); err != nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
