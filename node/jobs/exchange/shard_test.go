package exchange

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

func TestFamilies(t *testing.T) {
	for model, want := range map[string]string{
		"koboldcpp/Llama-3-8B-Instruct": "llama", "Llama-3.1-70B": "llama",
		"Flux.1-Schnell fp8 (Compact)": "flux", "stable_diffusion_2.1": "stable",
		"AlbedoBase XL (SDXL)": "albedobase", "3DKX": "3dkx", "": "", "Ünikat v2": "ünikat",
	} {
		if got := family(model); got != want {
			t.Errorf("family(%q) = %q, want %q", model, got, want)
		}
	}
}

func TestStreams(t *testing.T) {
	for _, tt := range []struct {
		name   string
		shape  horde.Shape
		shards int
		common bool
	}{
		{"not divided", horde.Shape{Kind: horde.KindText, Models: []string{"m"}}, 0, true},
		{"any model", horde.Shape{Kind: horde.KindText}, 16, true},
		{"alchemy", horde.Shape{Kind: horde.KindAlchemy, Models: []string{"m"}}, 16, true},
		{"one model", horde.Shape{Kind: horde.KindImage, Models: []string{"m"}}, 16, false},
		{"one family", horde.Shape{Kind: horde.KindImage, Models: []string{"Flux.1", "flux-dev"}}, 16, false},
		{"two families", horde.Shape{Kind: horde.KindImage, Models: []string{"Flux.1", "Deliberate"}}, 64, true},
	} {
		st := streamOf(&tt.shape, tt.shards)
		if (st == int(tt.shape.Kind)) != tt.common || kindOf(st, tt.shards) != int(tt.shape.Kind) {
			t.Errorf("%s: stream %d", tt.name, st)
		}
		if topic := topicOf(st, tt.shards); ShardTopic(topic) == tt.common {
			t.Errorf("%s: %s is a shard's topic: %v", tt.name, topic, ShardTopic(topic))
		}
	}
	for _, no := range []string{"o/text", "o/text/", "o/text/0/0", "o/text/65/1", "o/text/4/4", "o/text/4/-1", "o/text/04/1", "o/alchemy/4/1", "o/text/4/1/1", "n/4/1"} {
		if ShardTopic(no) {
			t.Errorf("%s is a shard's topic", no)
		}
	}
}

// followers is what the nodes of a wire are in, beside the common topics.
type followers struct {
	mu sync.Mutex
	in map[horde.NodeID]map[string]follow
}

type follow struct {
	validate func(horde.NodeID, []byte) Verdict
	deliver  func(horde.NodeID, []byte)
}

func (f *followers) topics(id horde.NodeID) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.in[id] {
		names = append(names, name)
	}
	return names
}

func (f *followers) publish(from horde.NodeID, to horde.NodeID, topic string, data []byte) {
	f.mu.Lock()
	x, ok := f.in[to][topic]
	f.mu.Unlock()
	if ok && x.validate(from, data) == Accept {
		x.deliver(from, data)
	}
}

func (p endpoint) Follow(topic string, validate func(horde.NodeID, []byte) Verdict, deliver func(horde.NodeID, []byte)) error {
	p.shards.mu.Lock()
	defer p.shards.mu.Unlock()
	if p.shards.in == nil {
		p.shards.in = map[horde.NodeID]map[string]follow{}
	}
	if p.shards.in[p.self] == nil {
		p.shards.in[p.self] = map[string]follow{}
	}
	p.shards.in[p.self][topic] = follow{validate, deliver}
	return nil
}

func (p endpoint) Unfollow(topic string) error {
	p.shards.mu.Lock()
	defer p.shards.mu.Unlock()
	delete(p.shards.in[p.self], topic)
	return nil
}

// Three nodes with divided offers: a node hears of the shards that its workers and requests need
// and of no others, and a worker that comes with another model is served at its first poll.
func TestShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shards = 16
		f := federate(t, "a", "b", "c")
		a, b, c := f.nodes["a"], f.nodes["b"], f.nodes["c"]
		settle(3 * time.Second)
		before := a.ask(alice, ofModel("llama-3"))
		for _, n := range f.nodes {
			if err := n.Reshard(shards); err != nil {
				t.Fatal(err)
			}
		}
		settle(5 * time.Second)
		if b.sees(before) || c.sees(before) {
			t.Error("an offer of a shard that nobody needs is known elsewhere")
		}
		wide := a.ask(alice, func(o *horde.Offer) { o.Shape.Models = nil })
		within(t, time.Second, "offers of any model are known everywhere", func() bool { return b.sees(wide) && c.sees(wide) })

		// The first poll of a worker fetches what its model's shard has.
		f.pop(b, f.poll("idle", withModels("mistral-7b")))
		res := f.pop(b, f.poll("w", withModels("Llama-3-8B", "llama-3")))
		if res.Grant == nil || res.Grant.Request != before {
			t.Fatalf("the first poll of a worker got %+v, want the job of %s", res.Grant, before)
		}
		if got := f.wire.shards.topics("b"); len(got) != 2 {
			t.Errorf("b is in the shards %v, want those of its two workers", got)
		}

		// From then on b hears of them at once, c never.
		next := a.ask(alice, ofModel("llama-3"))
		within(t, time.Second, "b sees the next offer", func() bool { return b.sees(next) })
		settle(20 * time.Second)
		if c.sees(next) || len(f.wire.shards.topics("c")) != 0 {
			t.Errorf("c sees what it does not need, in %v", f.wire.shards.topics("c"))
		}
		a.home.end(next)
		within(t, time.Second, "b sees that it ended", func() bool { return !b.sees(next) })

		// What gossip loses in a shard, the beacon's digest of the shard brings back.
		f.wire.set(func() {
			f.wire.drop = func(_, _ horde.NodeID, topic string) bool { return strings.HasPrefix(topic, TopicText+"/") }
		})
		lost := a.ask(alice, ofModel("llama-3"))
		within(t, 17*time.Second, "b finds what gossip lost", func() bool { return b.sees(lost) })
		f.wire.set(func() { f.wire.drop = nil })

		// A shard without workers and requests is left again.
		settle(shardIdle + 5*time.Second)
		if got := f.wire.shards.topics("b"); len(got) != 0 || b.sees(lost) {
			t.Errorf("b is still in %v after its workers went", got)
		}
		if got := f.wire.shards.topics("a"); len(got) != 1 {
			t.Errorf("a is in %v, want the shard of its open request", got)
		}

		// And all is as it was once the offers are joined again.
		for _, n := range f.nodes {
			if err := n.Reshard(0); err != nil {
				t.Fatal(err)
			}
		}
		within(t, 17*time.Second, "all nodes see all offers", func() bool { return b.sees(lost) && c.sees(lost) })
	})
}

// An offer told in a shard that it does not belong in is refused.
func TestForeignShardIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shards = 8
		f := federate(t, "a", "b")
		settle(time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		for _, n := range f.nodes {
			if err := n.Reshard(shards); err != nil {
				t.Fatal(err)
			}
		}
		id, err := a.NewRequestID()
		if err != nil {
			t.Fatal(err)
		}
		o := horde.Offer{ID: id, Rev: 1, Open: 1, Shape: horde.Shape{Kind: horde.KindText, Models: []string{"m"}}}
		right := streamOf(&o.Shape, shards)
		wrong := kinds + shards + (right-kinds-shards+1)%shards
		data, err := encode(batch{Boot: a.boot.Load(), Seq: 900, Offers: []horde.Offer{o}})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.validateStream("a", data, horde.KindText, right, shards); got != Accept {
			t.Errorf("in its shard: %v, want Accept", got)
		}
		if got := b.validateStream("a", data, horde.KindText, wrong, shards); got != Reject {
			t.Errorf("in another shard: %v, want Reject", got)
		}
		if got := b.validateStream("a", data, horde.KindText, right, shards/2); got == Accept {
			t.Errorf("of another division: %v, want it not accepted", got)
		}
	})
}

func ofModel(name string) func(*horde.Offer) {
	return func(o *horde.Offer) { o.Shape.Models = []string{name} }
}

func withModels(names ...string) func(*horde.Pop) {
	return func(p *horde.Pop) { p.Caps.Models = names }
}
