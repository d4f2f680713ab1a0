package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"hordenode/consensus"
	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/p2p"
)

// How a node finds out that it is not what the others take it for, and what it does then.
//
//	it learns                            from                    it
//	its log or votes are damaged         consensus.ErrAmnesia    heals
//	it knew more once than it does now   a peer's hello          heals
//	its state differs from the others'   a tick: ErrDiverged     stops serving, starts again, heals
//	a newer process has its identity     hello, or the ledger    stops
//	the federation was recovered         hello: a later epoch    is refused; stops if it has no leader
//
// To heal is to be taken out of the group by its leader, to forget the ledger and to come back
// as a learner, which the autopilot lets vote when it has caught up. Identity, requests and
// outbox stay. A voter that forgot must not simply go on: it could vote twice.
const (
	protoHello  = "/horde/hello/1"  // greeting → greeting
	protoRejoin = "/horde/rejoin/1" // the caller must not vote any more → done
)

const (
	helloEvery = 5 * time.Second
	healFor    = 2 * time.Minute // how long a start waits for a leader that lets it heal
	// healFile says why the ledger here is to be forgotten, until it is.
	healFile = "heal"
)

var (
	// ErrStartAgain says that the node must be closed and opened again to heal itself.
	ErrStartAgain = errors.New("the node starts again to repair itself")
	// ErrFenced says that a newer process runs with this node's identity.
	ErrFenced = errors.New("another process runs with the identity of this node and was started later (a copy of the data directory?): only one may; this one stops")
	// ErrOldEpoch says that the federation was recovered without this node.
	ErrOldEpoch = errors.New("the federation was recovered without this node")
)

// A greeting is what nodes tell each other when they meet, and every few seconds after.
type greeting struct {
	Epoch   uint64 `json:"epoch"`
	Boot    uint64 `json:"boot"`    // of the process; in an answer the highest known of the asker
	Applied uint64 `json:"applied"` // by it; in an answer the highest that the asker claimed as a voter
	Voter   bool   `json:"voter"`

	Ledger ledger.Version `json:"ledger,omitempty"` // the newest that the sender's program knows; 0 = 1
}

// acquaintances is what a node remembers of the others' greetings.
type acquaintances struct {
	mu     sync.Mutex
	seen   map[horde.NodeID]greeting
	denied map[horde.NodeID]time.Time // of another epoch, until then
	warned map[horde.NodeID]time.Time
}

// denyFor outlasts a few greetings.
const denyFor = 20 * time.Second

func newAcquaintances() *acquaintances {
	return &acquaintances{seen: map[horde.NodeID]greeting{}, denied: map[horde.NodeID]time.Time{}, warned: map[horde.NodeID]time.Time{}}
}

// meet notes a greeting and returns what was known of that node before and now.
func (a *acquaintances) meet(from horde.NodeID, g greeting, own uint64, now time.Time) greeting {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.Epoch != own {
		a.denied[from] = now.Add(denyFor)
		return greeting{}
	}
	delete(a.denied, from)
	known := a.seen[from]
	if g.Voter {
		known.Applied = max(known.Applied, g.Applied)
	} else {
		known.Applied = 0 // a learner has promised nothing
	}
	known.Boot = max(known.Boot, g.Boot)
	known.Ledger = max(g.Ledger, 1)
	a.seen[from] = known
	return known
}

// refused tells whether a node is of another epoch.
func (a *acquaintances) refused(id horde.NodeID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, ok := a.denied[id]
	return ok && time.Now().Before(until)
}

// mayWarn is true once a minute for each node.
func (a *acquaintances) mayWarn(id horde.NodeID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.warned[id]) < time.Minute {
		return false
	}
	a.warned[id] = now
	return true
}

// raftProtocol is another one in every epoch, so that a log from before a recovery can never
// reach a node from after it, whoever forgets to ask.
func raftProtocol(epoch uint64) string {
	if epoch <= 1 {
		return protoRaft
	}
	return fmt.Sprintf("%s/epoch/%d", protoRaft, epoch)
}

func (n *Node) greeting() greeting {
	g := greeting{Epoch: n.fed.Epoch, Boot: n.proposer.boot, Applied: n.group.Applied(), Ledger: n.cfg.supported()}
	if servers, err := n.group.Servers(); err == nil {
		for _, s := range servers {
			g.Voter = g.Voter || s.ID == string(n.self) && s.Voter
		}
	}
	return g
}

// handleHello answers with what this node knows of the caller.
func (n *Node) handleHello(ctx context.Context, from horde.NodeID, req []byte) ([]byte, error) {
	var g greeting
	if err := json.Unmarshal(req, &g); err != nil {
		return nil, err
	}
	known := n.peers.meet(from, g, n.fed.Epoch, time.Now())
	if g.Epoch < n.fed.Epoch && n.peers.mayWarn(from, time.Now()) {
		n.log.WarnContext(ctx, "a node of an earlier epoch is refused: the federation was recovered without it", "node", from, "its_epoch", g.Epoch, "epoch", n.fed.Epoch)
	}
	boot, _, _ := n.ledger.Origin(from)
	return json.Marshal(greeting{Epoch: n.fed.Epoch, Boot: max(boot, known.Boot), Applied: known.Applied, Ledger: n.cfg.supported()})
}

// greet tells the connected members who this process is, and learns whether it may go on.
func (n *Node) greet(ctx context.Context) error {
	for {
		for _, p := range n.host.Peers() {
			if !p.Connected || ctx.Err() != nil {
				continue
			}
			if err := n.greetOne(ctx, p.ID); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.met:
		case <-time.After(helloEvery):
		}
	}
}

func (n *Node) greetOne(ctx context.Context, id horde.NodeID) error {
	ask, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	mine := n.greeting()
	b, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	resp, err := n.host.Call(ask, id, protoHello, b)
	if err != nil {
		n.log.DebugContext(ctx, "no answer to hello", "peer", id, "err", err)
		return nil
	}
	var known greeting
	if err := json.Unmarshal(resp, &known); err != nil {
		n.log.WarnContext(ctx, "hello answered with something else", "peer", id, "err", err)
		return nil
	}
	if known.Epoch == mine.Epoch {
		n.peers.hear(id, known.Ledger)
	}
	switch _, led := n.group.Leader(); {
	case known.Epoch > mine.Epoch && !led:
		return fmt.Errorf("%w: it is in epoch %d, this node in %d. What only this node knows is lost. To join it again: hordenode recover --rejoin --epoch %d --data %s",
			ErrOldEpoch, known.Epoch, mine.Epoch, known.Epoch, n.cfg.Data)
	case known.Epoch != mine.Epoch:
		if n.peers.mayWarn(id, time.Now()) {
			n.log.WarnContext(ctx, "a member is of another epoch: nothing is exchanged with it", "peer", id, "its_epoch", known.Epoch, "epoch", mine.Epoch)
		}
		return nil
	case known.Boot > mine.Boot:
		return fmt.Errorf("%w (start %d; %s knows of start %d)", ErrFenced, mine.Boot, id, known.Boot)
	case mine.Voter && known.Applied > n.group.Stats().LastLog:
		return n.startAgain(fmt.Sprintf("this node's log ends at %d, and it told %s that it had applied %d: an old copy of the data directory?", n.group.Stats().LastLog, id, known.Applied))
	}
	return nil
}

// startAgain has the next start heal, and ends this one.
func (n *Node) startAgain(why string) error {
	n.log.Error("this node's ledger cannot be trusted: it stops serving, forgets it and fetches it again", "why", why)
	if len(n.roster.addresses()) == 0 {
		return fmt.Errorf("%s; there is no other member to fetch the ledger from: restore a backup", why)
	}
	if err := n.dir.write(healFile, []byte(why)); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrStartAgain, why)
}

// judgeFailure decides what the end of the ledger means for the node.
func (n *Node) judgeFailure(err error) error {
	n.dieSlowly(err)
	if errors.Is(err, ledger.ErrDiverged) {
		return n.startAgain(err.Error())
	}
	return fmt.Errorf("the ledger stopped: %w", err)
}

// openGroup opens the replicated log, and heals it first if it has to be.
func (n *Node) openGroup(cfg consensus.Config) (*consensus.Group, error) {
	why, err := os.ReadFile(n.dir.join(healFile))
	switch {
	case err == nil:
		if err := n.heal(cfg.Dir, string(why)); err != nil {
			return nil, err
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	g, err := consensus.Open(cfg, n.machine)
	var lost *consensus.ErrAmnesia
	if !errors.As(err, &lost) {
		return g, err
	}
	if err := n.heal(cfg.Dir, lost.Error()); err != nil {
		return nil, err
	}
	return consensus.Open(cfg, n.machine)
}

// heal asks the leader to take this node out of the group and forgets the ledger. The leader
// adds the node again, as a learner.
func (n *Node) heal(dir, why string) error {
	if len(n.roster.addresses()) == 0 {
		return fmt.Errorf("%s; no other member is known to fetch the ledger from. The files are left as they are: restore a backup into another directory", why)
	}
	n.log.Error("the ledger here cannot be used: asking the leader to let this node begin anew as a learner", "why", why)
	if err := n.dir.write(healFile, []byte(why)); err != nil { // a crash goes on with it
		return err
	}
	if err := n.askToRejoin(); err != nil {
		return fmt.Errorf("%s; and %w", why, err)
	}
	if err := consensus.Wipe(dir); err != nil {
		return err
	}
	if err := os.Remove(n.dir.join(healFile)); err != nil {
		return err
	}
	n.log.Warn("the ledger here was removed; it is fetched from the others now")
	return nil
}

// askToRejoin returns when the leader has taken this node out of the group.
func (n *Node) askToRejoin() error {
	ctx, stop := context.WithTimeout(context.Background(), healFor)
	defer stop()
	ran := make(chan error, 1)
	n.host.SetPeers(n.roster.addresses())
	go func() { ran <- n.host.Run(ctx) }()
	err := n.rejoinAt(ctx)
	stop()
	return errors.Join(err, <-ran)
}

func (n *Node) rejoinAt(ctx context.Context) error {
	last := errors.New("no member could be reached")
	for {
		for _, p := range n.host.Peers() {
			if !p.Connected {
				continue
			}
			_, err := n.host.Call(ctx, p.ID, protoRejoin, nil)
			if err == nil {
				return nil
			}
			if ctx.Err() == nil {
				last = err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no leader let it rejoin within %v: %w", healFor, last)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// handleRejoin takes the caller out of the group, durably, before it forgets what it voted.
func (n *Node) handleRejoin(ctx context.Context, from horde.NodeID, _ []byte) ([]byte, error) {
	if !n.group.IsLeader() {
		leader, _ := n.group.Leader()
		return nil, &p2p.RemoteError{Code: codeNotLeader, Msg: leader}
	}
	if _, err := n.group.Barrier(ctx); err != nil {
		return nil, remote(err)
	}
	if err := n.group.Remove(string(from)); err != nil && !errors.Is(err, consensus.ErrNotMember) {
		return nil, remote(err)
	}
	n.peers.meet(from, greeting{Epoch: n.fed.Epoch}, n.fed.Epoch, time.Now())
	n.log.WarnContext(ctx, "a member lost its ledger and begins anew as a learner", "node", from)
	return nil, nil
}

// raise writes the command of a recovery into the ledger that it is about.
func (n *Node) raise() error {
	cmd, err := os.ReadFile(n.dir.join(recoverFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.waitLeading(ctx); err != nil {
		return fmt.Errorf("the recovered group did not elect this node: %w", err)
	}
	if n.machine.Head().Epoch < n.fed.Epoch {
		if err := n.proposeAlone(ctx, cmd, n.cluster); err != nil {
			return fmt.Errorf("begin epoch %d: %w", n.fed.Epoch, err)
		}
		n.log.Warn("the federation was recovered: a new epoch began", "epoch", n.fed.Epoch)
	}
	return os.Remove(n.dir.join(recoverFile))
}

// waitLeading returns when this node leads and has applied all that was in its log.
func (n *Node) waitLeading(ctx context.Context) error {
	for !n.group.IsLeader() {
		select {
		case <-n.group.LeaderChanges():
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	_, err := n.group.Barrier(ctx)
	return err
}

// proposeAlone writes one command in a session of its own, before the proposer runs.
func (n *Node) proposeAlone(ctx context.Context, cmd []byte, cluster ledger.ClusterID) error {
	batch, err := ledger.EncodeBatch(ledger.Batch{
		Cluster: cluster, Origin: n.self, Boot: n.proposer.boot, Seq: 1, Commands: []ledger.Command{{Data: cmd}},
	}, n.sign)
	if err != nil {
		return err
	}
	_, answer, err := n.group.Propose(ctx, batch)
	if err != nil {
		return err
	}
	results, err := ledger.DecodeResults(answer)
	if err != nil {
		return err
	}
	for _, r := range results {
		if err := r.Err(); err != nil {
			return err
		}
	}
	n.proposer.boot, err = n.dir.nextBoot()
	return err
}

// rememberMembers keeps the members' addresses where they survive the ledger.
func (n *Node) rememberMembers(members []horde.Member) error {
	f := n.fed
	f.Members = members
	return n.dir.setFederation(f)
}
