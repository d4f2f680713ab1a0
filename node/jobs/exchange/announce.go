package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"hordenode/internal/horde"
)

const (
	// coalesce is how long a changed offer waits for company after others were told.
	coalesce = 20 * time.Millisecond
	// holdBack is how long an offer that one of our own idle workers can serve stays here.
	holdBack = 150 * time.Millisecond
	// beaconEvery is the time between beacons when nothing changes, beaconAfter the least
	// time between two.
	beaconEvery = 15 * time.Second
	beaconAfter = 2 * time.Second
	// heartbeat is how often the announcer looks when nobody wakes it.
	heartbeat = 250 * time.Millisecond

	maxBatchBytes = MaxMessage - 4<<10 // leaves room for what goes around the offers
	maxBatches    = 64                 // published in one go

	snapshotTTL  = 30 * time.Second
	maxSnapshots = 8
)

// announcer tells the other nodes of this node's offers. What it told is what its beacons'
// digests and its answers to syncs are about; an offer held back is in neither.
type announcer struct {
	mu          sync.Mutex // guards all below
	shards      int
	told        []told      // by stream
	due         time.Time   // of the earliest pending change, zero if there is none
	beaconAt    time.Time   // when the last one was sent
	publishedAt []time.Time // when offers were told last, by stream
	changed     bool        // since the last beacon
	newsSeq     uint64
	snapshots   []snapshot
	lastID      uint64

	wake chan struct{} // capacity 1: something is pending
}

// told is what has been told in one stream.
type told struct {
	seq     uint64
	digest  uint64
	offers  map[horde.RequestID]mark
	pending map[horde.RequestID]pending
}

// pending is a change that is to be told.
type pending struct {
	due time.Time
	rev uint32
}

// snapshot lists what had been told when a sync began.
type snapshot struct {
	id   uint64
	kind int // the stream
	seq  uint64
	ids  []horde.RequestID
	at   time.Time
}

func newAnnouncer() *announcer {
	a := &announcer{wake: make(chan struct{}, 1)}
	a.reset(0)
	return a
}

// reset forgets what was told; a.mu is held, but by newAnnouncer.
func (a *announcer) reset(shards int) {
	a.shards, a.snapshots = shards, nil
	a.told, a.publishedAt = make([]told, streamCount(shards)), make([]time.Time, streamCount(shards))
	for k := range a.told {
		a.told[k] = told{offers: map[horde.RequestID]mark{}, pending: map[horde.RequestID]pending{}}
	}
}

// note marks an offer as changed, to be told in a stream at the given time. A stream that there
// is no more is left out: its offers are noted anew (Reshard).
func (a *announcer) note(stream int, id horde.RequestID, rev uint32, due time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if stream >= len(a.told) {
		return
	}
	t := &a.told[stream]
	if p, ok := t.pending[id]; ok {
		due, rev = earlier(p.due, due), max(p.rev, rev)
	}
	t.pending[id] = pending{due: due, rev: rev}
	if a.due.IsZero() || due.Before(a.due) {
		a.due = due
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// nudge has the announcer look now for what there is to tell.
func (a *announcer) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// take returns the ids whose change is due, with the latest revision known.
func (a *announcer) take(kind int, now time.Time) map[horde.RequestID]uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := make(map[horde.RequestID]uint32)
	if kind >= len(a.told) {
		return ids
	}
	for id, p := range a.told[kind].pending {
		if !p.due.After(now) {
			ids[id] = p.rev
			delete(a.told[kind].pending, id)
		}
	}
	return ids
}

// rearm finds the next due time anew.
func (a *announcer) rearm() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = time.Time{}
	for k := range a.told {
		for _, p := range a.told[k].pending {
			if a.due.IsZero() || p.due.Before(a.due) {
				a.due = p.due
			}
		}
	}
}

// wait returns how long the announcer may sleep.
func (a *announcer) wait(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.due.IsZero() {
		return heartbeat
	}
	return min(max(a.due.Sub(now), 0), heartbeat)
}

// OfferChanged hears of every change of this node's own offers (jobs.Watcher). It does not
// block and does not call the Home.
func (e *Exchange) OfferChanged(o horde.Offer) {
	defer e.audience.changed(o.ID)
	defer e.waits.changed(o.ID)
	now := e.now()
	kind := o.Shape.Kind
	if int(kind) >= kinds {
		return
	}
	e.index.mu.Lock()
	stream := e.index.stream(kind, o.ID)
	_, err := e.index.put(e.index.feed(e.self), &o, now)
	if o.Open > 0 {
		stream = e.index.stream(kind, o.ID)
	}
	e.index.mu.Unlock()
	if err != nil {
		e.log.Error("own offer not indexed", "request", o.ID, "err", err)
		return
	}
	if stream >= kinds {
		e.followShard(stream)
	}
	due := e.announcer.soonest(stream, now)
	if o.Open > 0 && e.idleWorkerServes(&o.Shape, o.Payer, o.Job, now) {
		due = now.Add(holdBack)
	}
	e.announcer.note(stream, o.ID, o.Rev, due)
}

// soonest is when a change in a stream may be told: at once if nothing was told just now, else
// together with what else changes meanwhile.
func (a *announcer) soonest(stream int, now time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if stream >= len(a.publishedAt) {
		return now
	}
	if next := a.publishedAt[stream].Add(coalesce); next.After(now) {
		return next
	}
	return now
}

func (a *announcer) publishing(kind int, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if kind < len(a.publishedAt) {
		a.publishedAt[kind] = now
	}
}

// runAnnouncer tells what is due until ctx is done.
func (e *Exchange) runAnnouncer(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.announcer.wake:
		case <-timer.C:
		}
		now := e.now()
		alone := !e.hasOthers()
		for stream := range streamCount(e.Shards()) {
			if err := e.tellOffers(ctx, stream, now, alone); err != nil {
				return err
			}
		}
		e.announcer.rearm()
		if !alone {
			if err := e.tellNews(ctx, now); err != nil {
				return err
			}
		}
		timer.Reset(e.announcer.wait(e.now()))
	}
}

// tellOffers publishes the changes in a stream that are due. Alone, it only keeps the books
// that a node which joins later asks for.
func (e *Exchange) tellOffers(ctx context.Context, kind int, now time.Time, alone bool) error {
	due := e.announcer.take(kind, now)
	for n := 0; len(due) > 0; n++ {
		if n == maxBatches {
			for id, rev := range due {
				e.announcer.note(kind, id, rev, now.Add(coalesce))
			}
			return nil
		}
		data, topic, err := e.nextBatch(kind, due, now)
		if err != nil {
			return err
		}
		if data == nil || alone {
			continue
		}
		e.announcer.publishing(kind, now)
		if err := e.network.Publish(ctx, topic, data); err != nil && ctx.Err() == nil {
			// The next beacon shows it to those who missed it.
			e.log.WarnContext(ctx, "offers not published", "topic", topic, "err", err)
		}
	}
	return nil
}

var topics = [kinds]string{TopicImage, TopicText, TopicAlchemy}

// nextBatch takes as many changes out of due as fit into one message and books them as
// told. It returns nil if none of them is worth telling, and the topic they belong in.
func (e *Exchange) nextBatch(stream int, due map[horde.RequestID]uint32, now time.Time) ([]byte, string, error) {
	b := outBatch{Boot: e.boot.Load()}
	marks := make(map[horde.RequestID]mark)
	size := 0
	a := e.announcer
	shards := a.divided()
	if stream >= streamCount(shards) {
		clear(due)
		return nil, "", nil
	}
	kind := kindOf(stream, shards)
	for id, rev := range due {
		if size > maxBatchBytes || len(b.Offers)+len(b.Closed) >= maxBatchOffers/2 {
			break
		}
		o, open := e.ownOffer(kind, id, now)
		if !open {
			delete(due, id)
			if a.knows(stream, id) { // an offer that nobody heard of ends as quietly
				b.Closed = append(b.Closed, closed{ID: id, Rev: rev})
				size += 24
			}
			continue
		}
		raw, err := encode(&o)
		if err != nil {
			return nil, "", err
		}
		if len(raw) > maxBatchBytes {
			delete(due, id)
			e.log.Error("offer too large to tell", "request", id, "bytes", len(raw))
			continue
		}
		if size+len(raw) > maxBatchBytes {
			break
		}
		delete(due, id)
		b.Offers = append(b.Offers, raw)
		marks[id] = mark{rev: o.Rev, open: int32(o.Open)}
		size += len(raw)
	}
	if len(b.Offers)+len(b.Closed) == 0 {
		return nil, "", nil
	}
	if b.Seq = a.book(stream, marks, b.Closed); b.Seq == 0 {
		return nil, "", nil
	}
	data, err := encode(&b)
	return data, topicOf(stream, shards), err
}

// divided is how many shards there are.
func (a *announcer) divided() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shards
}

// ownOffer returns an open offer of this node. A request may be in the index though it is
// another's by now: its home while it was away, or the successor that it was handed to.
func (e *Exchange) ownOffer(kind int, id horde.RequestID, now time.Time) (horde.Offer, bool) {
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	if teller, ok := e.index.queues[kind].Teller(id); !ok || teller != e.tag {
		return horde.Offer{}, false
	}
	return e.index.queues[kind].Offer(id, now)
}

func (a *announcer) knows(kind int, id horde.RequestID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if kind >= len(a.told) {
		return false
	}
	_, ok := a.told[kind].offers[id]
	return ok
}

// book writes down what the next batch tells, and returns its number; 0 if there is no such
// stream any more.
func (a *announcer) book(kind int, offers map[horde.RequestID]mark, ended []closed) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if kind >= len(a.told) {
		return 0
	}
	t := &a.told[kind]
	for id, m := range offers {
		if old, ok := t.offers[id]; ok {
			t.digest ^= old.hash(id)
		}
		t.offers[id] = m
		t.digest ^= m.hash(id)
	}
	for _, c := range ended {
		if old, ok := t.offers[c.ID]; ok {
			t.digest ^= old.hash(c.ID)
			delete(t.offers, c.ID)
		}
	}
	t.seq++
	a.changed = true
	return t.seq
}

// tellNews publishes a beacon if one is due, and the workers that have changed.
func (e *Exchange) tellNews(ctx context.Context, now time.Time) error {
	b := e.announcer.beaconDue(now)
	if b != nil {
		b.Idle = e.live.idle(now)
		b.Delivered = e.delivered.past(now)
	}
	records, err := e.live.due(now)
	if err != nil {
		return err
	}
	for b != nil || len(records) > 0 {
		n := outNews{Boot: e.boot.Load(), Seq: e.announcer.nextNews(), Beacon: b}
		b = nil
		size, fit := 0, 0
		for ; fit < len(records) && size+len(records[fit]) <= maxBatchBytes; fit++ {
			size += len(records[fit])
		}
		n.Workers, records = records[:fit], records[fit:]
		data, err := encode(&n)
		if err != nil {
			return err
		}
		if err := e.network.Publish(ctx, TopicNews, data); err != nil && ctx.Err() == nil {
			e.log.WarnContext(ctx, "news not published", "err", err)
		}
	}
	return nil
}

// beaconDue returns the beacon to send now, nil if none is due.
func (a *announcer) beaconDue(now time.Time) *beacon {
	a.mu.Lock()
	defer a.mu.Unlock()
	since := now.Sub(a.beaconAt)
	if since < beaconAfter || !a.changed && since < beaconEvery {
		return nil
	}
	a.beaconAt, a.changed = now, false
	b := &beacon{Divided: a.shards}
	for k := range a.told {
		t := &a.told[k]
		s := streamState{Seq: t.seq, Open: len(t.offers), Digest: t.digest}
		switch {
		case k < kinds:
			b.Streams[k] = s
		case s.Seq > 0:
			if b.Shards == nil {
				b.Shards = map[uint16]streamState{}
			}
			b.Shards[uint16(k)] = s
		}
	}
	return b
}

func (a *announcer) nextNews() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.newsSeq++
	return a.newsSeq
}

// urgeBeacon makes the next beacon due at once.
func (a *announcer) urgeBeacon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed = true
}

// snapshot returns the snapshot of that id, or with id 0 a new one; ok is false if it has
// expired.
func (a *announcer) snapshot(kind int, id uint64, now time.Time) (s snapshot, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if kind >= len(a.told) {
		return snapshot{}, false
	}
	a.snapshots = slices.DeleteFunc(a.snapshots, func(s snapshot) bool { return now.Sub(s.at) > snapshotTTL })
	for _, s := range a.snapshots {
		if id != 0 && s.id == id && s.kind == kind {
			return s, true
		}
		if id == 0 && s.kind == kind && s.seq == a.told[kind].seq {
			return s, true
		}
	}
	if id != 0 {
		return snapshot{}, false
	}
	a.lastID++
	s = snapshot{id: a.lastID, kind: kind, seq: a.told[kind].seq, at: now}
	s.ids = make([]horde.RequestID, 0, len(a.told[kind].offers))
	for id := range a.told[kind].offers {
		s.ids = append(s.ids, id)
	}
	if len(a.snapshots) >= maxSnapshots {
		a.snapshots = slices.Delete(a.snapshots, 0, 1)
	}
	a.snapshots = append(a.snapshots, s)
	return s, true
}

// HandleSync serves /horde/sync/1: a page of what this node has told.
func (e *Exchange) HandleSync(_ context.Context, from horde.NodeID, req []byte) ([]byte, error) {
	r, err := decode[syncRequest](req)
	if err != nil {
		return nil, err
	}
	now := e.now()
	res := syncResponse{Boot: e.boot.Load()}
	switch {
	case r.Subject == subjectWorkers:
		res.Workers, res.More, err = e.live.page(r.After, now)
		if err != nil {
			return nil, err
		}
		return encode(&res)
	case r.Subject < 0 || r.Subject > subjectWorkers || r.Offset < 0 || r.Stream < 0:
		return nil, fmt.Errorf("%w: sync of %d at %d from %s", errInvalid, r.Subject, r.Offset, from)
	}
	stream, shards := r.Subject, e.announcer.divided()
	if r.Stream > 0 {
		if r.Shards != shards || r.Stream >= streamCount(shards) || kindOf(r.Stream, shards) != r.Subject {
			return encode(&res) // one of us has not heard of the new setting yet
		}
		stream = r.Stream
	}
	s, ok := e.announcer.snapshot(stream, r.Snapshot, now)
	if !ok {
		return encode(&res)
	}
	res.Snapshot, res.Seq = s.id, s.seq
	size := 0
	for res.Next = r.Offset; res.Next < len(s.ids); res.Next++ {
		o, open := e.ownOffer(r.Subject, s.ids[res.Next], now)
		if !open {
			continue
		}
		raw, err := encode(&o)
		if err != nil {
			return nil, err
		}
		if size += len(raw); size > MaxSyncPage-4<<10 || len(res.Offers) >= maxPage {
			res.More = true
			break
		}
		res.Offers = append(res.Offers, raw)
	}
	return encode(&res)
}

// maxPage is how many offers or workers are in one page of a sync.
const maxPage = 4096

var errFull = errors.New("too many offers")
