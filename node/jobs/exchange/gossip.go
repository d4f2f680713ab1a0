package exchange

import (
	"context"
	"errors"
	"time"

	"hordenode/internal/horde"
)

// What one node may send: offers and worker records per second, and at once. A message
// beyond it is ignored and repaired later.
const (
	senderRate  = 5000
	senderBurst = 50_000
)

// ValidateImage judges a message of topic o/image.
func (e *Exchange) ValidateImage(from horde.NodeID, data []byte) Verdict {
	return e.validateOffers(from, data, horde.KindImage)
}

// ValidateText judges a message of topic o/text.
func (e *Exchange) ValidateText(from horde.NodeID, data []byte) Verdict {
	return e.validateOffers(from, data, horde.KindText)
}

// ValidateAlchemy judges a message of topic o/alchemy.
func (e *Exchange) ValidateAlchemy(from horde.NodeID, data []byte) Verdict {
	return e.validateOffers(from, data, horde.KindAlchemy)
}

// DeliverImage takes in a valid message of topic o/image.
func (e *Exchange) DeliverImage(from horde.NodeID, data []byte) {
	e.deliverOffers(from, data, horde.KindImage)
}

// DeliverText takes in a valid message of topic o/text.
func (e *Exchange) DeliverText(from horde.NodeID, data []byte) {
	e.deliverOffers(from, data, horde.KindText)
}

// DeliverAlchemy takes in a valid message of topic o/alchemy.
func (e *Exchange) DeliverAlchemy(from horde.NodeID, data []byte) {
	e.deliverOffers(from, data, horde.KindAlchemy)
}

// validateOffers is validateStream for the stream that all nodes are in.
func (e *Exchange) validateOffers(from horde.NodeID, data []byte, kind horde.Kind) Verdict {
	return e.validateStream(from, data, kind, int(kind), 0)
}

// deliverOffers is deliverStream for the stream that all nodes are in.
func (e *Exchange) deliverOffers(from horde.NodeID, data []byte, kind horde.Kind) {
	e.deliverStream(from, data, kind, int(kind), 0)
}

// validateStream checks, cheapest first: size, author, form and home of the offers, that they
// belong in the stream, what the author may send, and whether the message is a repeat.
func (e *Exchange) validateStream(from horde.NodeID, data []byte, kind horde.Kind, stream, shards int) Verdict {
	if len(data) > MaxMessage || !e.member(from) {
		return Reject
	}
	b, err := decodeBatch(data, kind, e.keeping(from))
	if errors.Is(err, errForeign) {
		if _, err := decodeBatch(data, kind, e.mightKeep(from)); err == nil {
			return Ignore // it has taken a home over, and we have not heard of it yet
		}
	}
	if err != nil {
		e.log.Warn("offers refused", "from", from, "err", err)
		return Reject
	}
	for i := range b.Offers {
		if stream >= kinds && streamOf(&b.Offers[i].Shape, shards) != stream {
			e.log.Warn("offer in the wrong shard", "from", from)
			return Reject
		}
	}
	if !e.limits.allow(from, 1+len(b.Offers)+len(b.Closed), e.now()) {
		return Ignore
	}
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	f := e.index.feeds[from.Tag()]
	if stream >= kinds && shards != e.index.shards {
		return Ignore // the division has changed
	}
	if f != nil && (b.Boot < f.boot || b.Boot == f.boot && f.streams[stream].seen.has(b.Seq)) {
		if b.Boot == f.boot && e.index.contradicts(&f.streams[stream], b.Seq, data) {
			e.accuse(from, b.Boot, b.Seq, data)
		}
		return Ignore
	}
	return Accept
}

// deliverStream takes in a batch. The own node's messages, which pubsub delivers as well,
// are known already.
func (e *Exchange) deliverStream(from horde.NodeID, data []byte, kind horde.Kind, stream, shards int) {
	if from == e.self {
		return
	}
	b, err := decodeBatch(data, kind, e.keeping(from))
	if err != nil {
		e.log.Warn("offers refused", "from", from, "err", err)
		return
	}
	now := e.now()
	e.index.mu.Lock()
	defer e.index.mu.Unlock()
	if stream >= kinds && shards != e.index.shards {
		return
	}
	f := e.index.feed(from)
	fresh := f.boot != b.Boot
	if !e.index.rebooted(f, b.Boot) || f.streams[stream].seen.has(b.Seq) {
		return
	}
	f.heard = now
	for i := range b.Offers {
		if _, err := e.index.put(f, &b.Offers[i], now); err != nil {
			e.log.Warn("offer not indexed", "from", from, "err", err)
			break
		}
	}
	for _, c := range b.Closed {
		e.index.shut(f, kind, c, now)
	}
	f.streams[stream].seen.add(b.Seq)
	e.index.keepSum(&f.streams[stream], b.Seq, data)
	if fresh || !e.index.complete(f) {
		e.repairSoon(f, now, 0)
	} else if !f.streams[stream].seen.whole() {
		e.repairSoon(f, now, repairDelay)
	}
}

// ValidateNews judges a message of topic n.
func (e *Exchange) ValidateNews(from horde.NodeID, data []byte) Verdict {
	if len(data) > MaxMessage || !e.member(from) {
		return Reject
	}
	n, err := decodeNews(data)
	if err != nil {
		e.log.Warn("news refused", "from", from, "err", err)
		return Reject
	}
	if !e.limits.allow(from, 1+len(n.Workers), e.now()) {
		return Ignore
	}
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	if f := e.index.feeds[from.Tag()]; f != nil && n.Boot < f.boot {
		return Ignore
	}
	return Accept
}

// DeliverNews takes in a valid message of topic n.
func (e *Exchange) DeliverNews(from horde.NodeID, data []byte) {
	if from == e.self {
		return
	}
	n, err := decodeNews(data)
	if err != nil {
		e.log.Warn("news refused", "from", from, "err", err)
		return
	}
	now := e.now()
	e.hear(from, n, now)
	for i := range n.Workers {
		e.live.learn(&n.Workers[i], now)
	}
}

// hear takes in the beacon of n, if any, and sees whether something of its home was missed.
func (e *Exchange) hear(from horde.NodeID, n *news, now time.Time) {
	e.index.mu.Lock()
	defer e.index.mu.Unlock()
	f := e.index.feed(from)
	if !e.index.rebooted(f, n.Boot) {
		return
	}
	f.heard = now
	if n.Beacon == nil || n.Seq <= f.newsSeq {
		return
	}
	f.newsSeq, f.beacon = n.Seq, *n.Beacon
	switch {
	case !e.index.complete(f):
		e.repairSoon(f, now, 0)
	case e.index.missed(f):
		e.repairSoon(f, now, repairDelay)
	}
}

// missed tells whether the home's last beacon shows that we do not have what it told. A
// beacon that is older than what we have shows nothing.
func (x *index) missed(f *feed) bool {
	for k := range f.streams {
		if !x.follows(k) {
			continue
		}
		s, b := &f.streams[k], f.beacon.state(k, x.shards)
		switch {
		case !s.seen.whole() || s.seen.low < b.Seq:
			return true
		case s.seen.low == b.Seq && s.digest != b.Digest:
			return true
		}
	}
	return false
}

// Connected is called when a member came (back): its offers are asked for at once, and it
// will want ours.
func (e *Exchange) Connected(peer horde.NodeID) {
	if peer == e.self || !e.member(peer) {
		return
	}
	now := e.now()
	e.index.mu.Lock()
	f := e.index.feed(peer)
	f.heard, f.avoid, f.failures = now, time.Time{}, 0
	f.workers = false
	for k := range f.streams {
		f.streams[k].synced = false
	}
	f.repairAt = now
	e.index.mu.Unlock()
	e.announcer.urgeBeacon()
	e.wakeRepair()
	e.waits.homeIsBack(peer.Tag())
}

// member tells whether a node is an active member.
func (e *Exchange) member(n horde.NodeID) bool {
	m, ok := e.ledger.MemberByTag(n.Tag())
	return ok && m.ID == n && m.Active
}

// hasOthers tells whether there is anybody to tell something.
func (e *Exchange) hasOthers() bool {
	for _, m := range e.ledger.Members() {
		if m.Active && m.ID != e.self {
			return true
		}
	}
	return false
}

// HandleClaim serves /horde/claim/1: a worker at another node wants jobs of this home.
func (e *Exchange) HandleClaim(ctx context.Context, from horde.NodeID, req []byte) ([]byte, error) {
	c, err := decode[horde.Claim](req)
	if err != nil {
		return nil, err
	}
	if err := checkClaim(c); err != nil {
		return nil, err
	}
	var answer horde.Answer
	switch {
	case !e.exchanges(from):
		err = horde.Refuse(horde.RCForbidden, "This node does not exchange jobs with yours.")
	case !e.budgets.allow(from, e.now(), e.log):
		err = horde.Refuse(horde.RCForbidden, "Too many jobs that your node has claimed here are not delivered.")
	default:
		answer, err = e.home.Claim(ctx, *c)
	}
	if err != nil {
		r, err := refusalOf(err)
		if err != nil {
			return nil, err
		}
		return encode(&claimResponse{Refusal: r})
	}
	if answer.Grant != nil {
		if !answer.Grant.Fake {
			e.budgets.book(from, answer.Grant, e.now())
		}
		e.log.DebugContext(ctx, "jobs granted", "node", from, "worker", c.Worker, "request", answer.Grant.Request)
	}
	return encode(&claimResponse{Answer: &answer})
}

func checkClaim(c *horde.Claim) error {
	if len(c.Want) > maxWant || c.Amount < 1 || c.Amount > maxAmount || c.Worker.IsZero() {
		return errInvalid
	}
	return checkCaps(&c.Caps)
}
