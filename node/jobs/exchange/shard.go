package exchange

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
	"unicode"

	"hordenode/internal/horde"
)

// Shards divide the offers of images and texts by the family of their model, so that a node
// hears of what its workers can serve and not of everything (docs/growth.md):
//
//	o/text              offers of no model, or of models in several shards: every node
//	o/text/16/3         those in shard 3 of 16: nodes whose workers serve such models, and homes
//	                    of such requests
//
// A worker that comes with other models has its node join their shards and sync them with the
// homes, all within its first poll. How many shards there are is a setting of the federation.
const (
	// MaxShards is the most that a kind can be divided into.
	MaxShards = 64
	// shardedKinds are images and texts; forms of alchemy name no model.
	shardedKinds = 2
	// shardIdle is how long a shard is followed after the last worker or request of it.
	shardIdle = 10 * time.Minute
	// shardWait is how long the first poll of a worker waits for the shards it needs.
	shardWait = 500 * time.Millisecond
)

// A Follower takes part in topics that not every node is in.
type Follower interface {
	// Follow joins a topic; Unfollow leaves it.
	Follow(topic string, validate func(horde.NodeID, []byte) Verdict, deliver func(horde.NodeID, []byte)) error
	Unfollow(topic string) error
}

// streamCount is how many streams of offers a home has: one per kind, and one per shard.
func streamCount(shards int) int { return kinds + shardedKinds*shards }

// kindOf is the kind of a stream's offers.
func kindOf(stream, shards int) int {
	if stream < kinds {
		return stream
	}
	return (stream - kinds) / shards
}

// topicOf is the topic of a stream.
func topicOf(stream, shards int) string {
	if stream < kinds {
		return topics[stream]
	}
	return fmt.Sprintf("%s/%d/%d", topics[kindOf(stream, shards)], shards, (stream-kinds)%shards)
}

// ShardTopic tells whether a topic is one of those that shards can have.
func ShardTopic(name string) bool {
	for _, base := range topics[:shardedKinds] {
		rest, ok := strings.CutPrefix(name, base+"/")
		if !ok {
			continue
		}
		var n, s int
		if _, err := fmt.Sscanf(rest, "%d/%d", &n, &s); err != nil {
			return false
		}
		return 0 < n && n <= MaxShards && 0 <= s && s < n && rest == fmt.Sprintf("%d/%d", n, s)
	}
	return false
}

// family is what models of one series have in common: the first word of the name, without the
// program that serves it, in small letters.
//
//	koboldcpp/Llama-3-8B-Instruct → llama    Flux.1-Schnell fp8 → flux
func family(model string) string {
	model = model[strings.LastIndexByte(model, '/')+1:]
	end := strings.IndexFunc(model, func(r rune) bool { return !unicode.IsLetter(r) })
	if end > 0 {
		model = model[:end]
	}
	return strings.ToLower(model)
}

// shardOf is the shard of a model, of so many.
func shardOf(model string, shards int) int {
	h := fnv.New32a()
	h.Write([]byte(family(model))) // never fails
	return int(h.Sum32() % uint32(shards))
}

// streamOf is the stream that an offer of a shape is told in.
func streamOf(s *horde.Shape, shards int) int {
	if shards == 0 || int(s.Kind) >= shardedKinds || len(s.Models) == 0 {
		return int(s.Kind)
	}
	shard := shardOf(s.Models[0], shards)
	for _, m := range s.Models[1:] {
		if shardOf(m, shards) != shard {
			return int(s.Kind)
		}
	}
	return kinds + int(s.Kind)*shards + shard
}

// stream is the stream of an offer that was told; the kind's common one for what is unknown.
// x.mu is held.
func (x *index) stream(kind horde.Kind, id horde.RequestID) int {
	if st, ok := x.sharded[id]; ok {
		return int(st)
	}
	return int(kind)
}

// follows tells whether a stream is listened to. x.mu is held.
func (x *index) follows(stream int) bool { return stream < kinds || x.followed[stream] != nil }

// A following is a shard that this node takes part in.
type following struct {
	wanted time.Time // when a worker or request of it was last seen
}

// Shards returns how many shards there are; 0: offers are not divided.
func (e *Exchange) Shards() int {
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	return e.index.shards
}

// Reshard divides offers anew, as the federation's setting says. Everything that was heard is
// forgotten and learned again, as after a restart; nothing is durable here.
func (e *Exchange) Reshard(shards int) error {
	if shards < 0 || shards > MaxShards || shards > 0 && e.follower == nil {
		return fmt.Errorf("%d shards: %w", shards, errInvalid)
	}
	e.announcer.mu.Lock()
	e.index.mu.Lock()
	if e.index.shards == shards {
		e.index.mu.Unlock()
		e.announcer.mu.Unlock()
		return nil
	}
	old, left := e.index.shards, e.index.followed
	now := e.now()
	for _, f := range e.index.feeds {
		e.index.forget(f)
	}
	clear(e.index.sharded)
	e.index.shards, e.index.followed = shards, map[int]*following{}
	for _, f := range e.index.feeds {
		f.reset(shards)
		f.boot, f.repairAt = 0, now
	}
	e.announcer.reset(shards)
	e.boot.Add(1) // to the others it is as if this node had restarted
	e.index.mu.Unlock()
	e.announcer.mu.Unlock()
	var errs []error
	for st := range left {
		errs = append(errs, e.follower.Unfollow(topicOf(st, old)))
	}
	for _, o := range e.home.Offers() {
		e.OfferChanged(o)
	}
	e.announcer.urgeBeacon()
	e.announcer.nudge()
	e.wakeRepair()
	return errors.Join(errs...)
}

// followShard takes part in a shard, from now on, and tells whether that is new: then what was
// told in it is asked for.
func (e *Exchange) followShard(stream int) bool {
	now := e.now()
	e.index.mu.Lock()
	shards := e.index.shards
	if stream < kinds || stream >= streamCount(shards) {
		e.index.mu.Unlock()
		return false
	}
	if f := e.index.followed[stream]; f != nil {
		f.wanted = now
		e.index.mu.Unlock()
		return false
	}
	e.index.followed[stream] = &following{wanted: now}
	for _, f := range e.index.feeds {
		f.streams[stream].synced = false
		f.repairAt = now
	}
	e.index.mu.Unlock()
	topic, kind := topicOf(stream, shards), horde.Kind(kindOf(stream, shards))
	err := e.follower.Follow(topic,
		func(from horde.NodeID, data []byte) Verdict {
			return e.validateStream(from, data, kind, stream, shards)
		},
		func(from horde.NodeID, data []byte) { e.deliverStream(from, data, kind, stream, shards) })
	if err != nil {
		e.log.Warn("shard not followed", "topic", topic, "err", err) // its beacons still lead to syncs
	}
	e.wakeRepair()
	return true
}

// followFor takes part in the shards of a worker's models. If some are new it waits a little for
// what the homes have told in them.
func (e *Exchange) followFor(ctx context.Context, kind horde.Kind, models []string) {
	shards := e.Shards()
	if shards == 0 || int(kind) >= shardedKinds {
		return
	}
	fresh := false
	for _, m := range models {
		fresh = e.followShard(kinds+int(kind)*shards+shardOf(m, shards)) || fresh
	}
	if !fresh {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, shardWait)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !e.allSynced() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// allSynced tells whether nothing that is followed waits for its first sync with any home.
func (e *Exchange) allSynced() bool {
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	for _, f := range e.index.feeds {
		if f.tag == e.tag || f.failures > 0 {
			continue
		}
		for st := range f.streams {
			if e.index.follows(st) && !f.streams[st].synced {
				return false
			}
		}
	}
	return true
}

// leaveIdle leaves shards that no worker and no request of this node needs any more.
func (e *Exchange) leaveIdle(now time.Time) {
	e.announcer.mu.Lock()
	e.index.mu.Lock()
	shards := e.index.shards
	var left []int
	for st, f := range e.index.followed {
		if len(e.announcer.told[st].offers)+len(e.announcer.told[st].pending) > 0 {
			f.wanted = now
		}
		if now.Sub(f.wanted) > shardIdle {
			delete(e.index.followed, st)
			e.index.forgetStream(st, e.tag)
			left = append(left, st)
		}
	}
	e.index.mu.Unlock()
	e.announcer.mu.Unlock()
	for _, st := range left {
		if err := e.follower.Unfollow(topicOf(st, shards)); err != nil {
			e.log.Warn("shard not left", "topic", topicOf(st, shards), "err", err)
		}
	}
}

// forgetStream takes other homes' offers of a stream out. x.mu is held.
func (x *index) forgetStream(stream int, self horde.HomeTag) {
	kind := kindOf(stream, x.shards)
	for tag, f := range x.feeds {
		if tag == self {
			continue
		}
		for id := range x.queues[kind].Home(tag) {
			if x.stream(horde.Kind(kind), id) == stream {
				x.queues[kind].Remove(id)
				delete(x.sharded, id)
			}
		}
		f.streams[stream] = newStream()
	}
}
