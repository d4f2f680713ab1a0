package ledger

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func network(s string) netip.Prefix {
	if !strings.Contains(s, "/") {
		a := netip.MustParseAddr(s)
		return horde.BlockedNetwork(netip.PrefixFrom(a, a.BitLen()))
	}
	return horde.BlockedNetwork(netip.MustParsePrefix(s))
}

// tick lets the ledger's clock and its expiry come to now.
func (w *world) tick() { w.run(encodeCommand(kindTick, tick{})) }

// Every length of network is found from every address that is in it, and from no other.
func TestBlockedNetworks(t *testing.T) {
	for _, tt := range []struct {
		network string
		in, out []string
	}{
		{"127.77.0.0/24", []string{"127.77.0.5", "127.77.0.255", "::ffff:127.77.0.9"}, []string{"127.77.1.0", "127.76.0.5", "::1"}},
		{"127.9.8.7", []string{"127.9.8.7"}, []string{"127.9.8.6"}},
		{"10.1.2.3/32", []string{"10.1.2.3"}, []string{"10.1.2.2"}},
		{"::ffff:10.9.0.0/112", []string{"10.9.1.1"}, []string{"10.8.1.1"}},
		{"1.0.0.0/8", []string{"1.2.3.4", "1.255.1.1"}, []string{"2.0.0.1", "100::1"}},
		{"2001:db8:1:2:3:4:5:6", []string{"2001:db8:1:2::", "2001:db8:1:2:ffff::1"}, []string{"2001:db8:1:3::"}},
		{"2001:db8:1:2::8000/113", []string{"2001:db8:1:2::"}, []string{"2001:db8:1:3::"}}, // shorter than a client's own: its /64
		{"2001:db8::/32", []string{"2001:db8:ffff::1"}, []string{"2001:db9::1", "32.1.13.184"}},
		{"2001::/16", []string{"2001:db8::1"}, []string{"2002::1", "32.1.0.1"}},
	} {
		t.Run(tt.network, func(t *testing.T) {
			w := newWorld(t)
			mod := w.person("mod", 0, horde.RoleModerator)
			if err := w.BlockIP(w.ctx, NewIPBlock{Actor: mod, Network: network(tt.network), For: time.Hour}); err != nil {
				t.Fatal(err)
			}
			check := func(blocked bool) {
				t.Helper()
				for _, ip := range tt.in {
					if _, got := w.IPBlocked(netip.MustParseAddr(ip)); got != blocked {
						t.Errorf("%s is blocked: %v, want %v", ip, got, blocked)
					}
				}
				for _, ip := range tt.out {
					if _, got := w.IPBlocked(netip.MustParseAddr(ip)); got {
						t.Errorf("%s is blocked", ip)
					}
				}
			}
			check(true)
			writes, index := w.m.Changes() // as a node that starts again
			if err := w.m.Load(index, disk(writes).all()); err != nil {
				t.Fatal(err)
			}
			check(true)
			w.pass(time.Hour - time.Second)
			w.tick()
			check(true)
			w.pass(time.Second)
			w.tick()
			check(false)
			if n := w.m.s.blocks.live; n != 0 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}

func TestBlockRefusals(t *testing.T) {
	w := newWorld(t)
	mod, plain := w.person("mod", 0, horde.RoleModerator), w.person("plain", 0, 0)
	block := func(n NewIPBlock) func() error {
		if !n.Network.IsValid() {
			n.Network = network("10.0.0.0/8")
		}
		return func() error { return w.BlockIP(w.ctx, n) }
	}
	raw := func(k kind, body any) func() error {
		return func() error { _, err := w.do(w.ctx, encodeCommand(k, body)); return err }
	}
	salt := w.m.s.meta.get(unit{}).Salt
	good, other := newHashedNet(salt, network("10.0.0.0/8")), newHashedNet(salt, network("11.0.0.0/8"))
	lies := func(change func(*hashedNet)) blockIP {
		n := good
		change(&n)
		return blockIP{Actor: mod, Net: n, For: shortestBlock}
	}
	for _, tt := range []struct {
		name string
		do   func() error
		want horde.RC
	}{
		{"no moderator", block(NewIPBlock{Actor: plain, For: time.Hour}), horde.RCNotModerator},
		{"anonymous", block(NewIPBlock{For: time.Hour}), horde.RCNotModerator},
		{"nobody", block(NewIPBlock{Actor: 99, For: time.Hour}), horde.RCInvalidAPIKey},
		{"too wide", block(NewIPBlock{Actor: mod, For: time.Hour, Network: network("0.0.0.0/0")}), horde.RCBadRequest},
		{"too wide, of version 6", block(NewIPBlock{Actor: mod, For: time.Hour, Network: network("2000::/3")}), horde.RCBadRequest},
		{"too short", block(NewIPBlock{Actor: mod, For: time.Hour - time.Millisecond}), horde.RCBadRequest},
		{"too long", block(NewIPBlock{Actor: mod, For: 720*time.Hour + time.Millisecond}), horde.RCBadRequest},
		{"too long a reason", block(NewIPBlock{Actor: mod, For: time.Hour, Reason: strings.Repeat("x", maxReason+1)}), horde.RCBadRequest},
		{"no worker", block(NewIPBlock{Actor: mod, For: time.Hour, Worker: horde.WorkerID{UUID: horde.UUID{1}}}), horde.RCWorkerNotFound},
		{"no network", func() error { return w.BlockIP(w.ctx, NewIPBlock{Actor: mod, For: time.Hour}) }, horde.RCBadRequest},
		{"another's hash", raw(kindBlockIP, lies(func(n *hashedNet) { n.Hash = other.Hash })), horde.RCBadRequest},
		{"another's seal", raw(kindBlockIP, lies(func(n *hashedNet) { n.Sealed = other.Sealed })), horde.RCBadRequest},
		{"another length", raw(kindBlockIP, lies(func(n *hashedNet) { n.Bits = 9 })), horde.RCBadRequest},
		{"another family", raw(kindBlockIP, lies(func(n *hashedNet) { n.Six = true })), horde.RCBadRequest},
		{"no such length", raw(kindBlockIP, lies(func(n *hashedNet) { n.Bits = 200 })), horde.RCBadRequest},
		{"an address that can be read", raw(kindBlockIP, lies(func(n *hashedNet) { n.Bits = 32 })), horde.RCBadRequest},
		{"a report of a network", raw(kindReportIP, reportIP{good}), horde.RCBadRequest},
		{"unblock: no moderator", func() error { return w.UnblockIP(w.ctx, plain, network("10.0.0.0/8")) }, horde.RCNotModerator},
		{"unblock: not there", func() error { return w.UnblockIP(w.ctx, mod, network("10.0.0.0/8")) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { w.try(t, tt.want, tt.do) })
	}
}

// Reports keep an address out for 3, 9, 15 minutes and so on; a day without one, and it is
// forgotten.
func TestReportsGrow(t *testing.T) {
	w := newWorld(t)
	mod := w.person("mod", 0, horde.RoleModerator)
	ip := netip.MustParseAddr("2001:db8:1:2::77")
	report := func(wantMinutes int) {
		t.Helper()
		if err := w.ReportIP(w.ctx, ip); err != nil {
			t.Fatal(err)
		}
		until, out := w.IPBlocked(netip.MustParseAddr("2001:db8:1:2::1"))
		if got := int(until.Sub(moment(w.now)).Minutes()); !out || got != wantMinutes {
			t.Errorf("out: %v for %d minutes, want %d", out, got, wantMinutes)
		}
	}
	for _, minutes := range []int{3, 9, 15, 21} {
		report(minutes)
	}
	w.pass(24 * time.Hour)
	w.tick()
	report(3) // forgotten with the tick
	w.pass(time.Hour)
	w.tick()
	if _, out := w.IPBlocked(ip); out {
		t.Error("the timeout has no end")
	}
	report(9)
	if err := w.BlockIP(w.ctx, NewIPBlock{Actor: mod, Network: network(ip.String()), For: time.Hour}); err != nil {
		t.Fatal(err)
	}
	report(60) // what a moderator decided is not cut short
	if list := w.IPBlocksOf(ip); len(list) != 1 || list[0].Reports != 3 || list[0].By != mod || list[0].Left != time.Hour {
		t.Errorf("got %+v", list)
	}
	if err := w.UnblockIP(w.ctx, mod, network(ip.String())); err != nil {
		t.Fatal(err)
	}
	if _, out := w.IPBlocked(ip); out {
		t.Error("still out after it was let in")
	}
	report(3) // its past is forgotten, too
}

func TestIPBlockLists(t *testing.T) {
	w := newWorld(t)
	mod := w.person("mod", 0, horde.RoleModerator)
	owner := w.person("owner", 0, horde.RoleTrusted)
	worker, other := w.worker(owner, horde.KindImage, "w1"), w.worker(owner, horde.KindImage, "w2")
	for _, b := range []NewIPBlock{
		{Network: network("127.77.0.0/24"), For: 2 * time.Hour, Reason: "a raid"},
		{Network: network("127.0.0.0/8"), For: 3 * time.Hour},
		{Network: network("127.77.0.9"), For: time.Hour},
		{Network: network("127.65.5.4"), For: time.Hour, Worker: worker},
		{Network: network("127.65.5.5"), For: time.Hour, Worker: other},
		{Network: network("2001:db8::/32"), For: time.Hour},
	} {
		b.Actor = mod
		if err := w.BlockIP(w.ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	names := func(list []horde.IPBlock) string {
		var all []string
		for _, b := range list {
			all = append(all, b.Network.String()+" "+b.Left.String())
		}
		return strings.Join(all, ", ")
	}
	list := must(w.IPBlocks())(t)
	if got, want := names(list), "127.0.0.0/8 3h0m0s, 127.77.0.0/24 2h0m0s, 2001:db8::/32 1h0m0s"; got != want {
		t.Errorf("networks: got %s, want %s", got, want)
	}
	if b := list[1]; b.By != mod || b.Reason != "a raid" {
		t.Errorf("got %+v", b)
	}
	if got, want := names(w.IPBlocksOf(netip.MustParseAddr("127.77.0.9"))), "127.0.0.0/8 3h0m0s, 127.77.0.0/24 2h0m0s, 127.77.0.9/32 1h0m0s"; got != want {
		t.Errorf("of an address: got %s, want %s", got, want)
	}
	if until, _ := w.IPBlocked(netip.MustParseAddr("127.77.0.9")); until.Sub(moment(w.now)) != time.Hour {
		t.Errorf("until %v: the address's own entry does not come first", until)
	}
	if err := w.UnblockWorker(w.ctx, mod, worker, netip.Prefix{}); err != nil {
		t.Fatal(err)
	}
	if _, out := w.IPBlocked(netip.MustParseAddr("127.65.5.5")); !out {
		t.Error("another worker's address was let in")
	}
	if err := w.UnblockIP(w.ctx, mod, network("127.0.0.0/8")); err != nil {
		t.Fatal(err)
	}
	if _, out := w.IPBlocked(netip.MustParseAddr("127.65.5.4")); out {
		t.Error("a worker's address stayed out")
	}
}

// Neither the stored rows nor the commands show an address or a network.
func TestNoAddressInTheLedger(t *testing.T) {
	w := newWorld(t)
	mod := w.person("mod", 0, horde.RoleModerator)
	var seen [][]byte
	spy := NewClient(w.m, spyLog{w, func(cmd []byte) { seen = append(seen, cmd) }}, w.rnd)
	for _, n := range []string{"203.0.113.0/24", "203.0.113.77", "2001:db8:aa:bb::/64", "2001:db8:aa::/48"} {
		if err := spy.BlockIP(w.ctx, NewIPBlock{Actor: mod, Network: network(n), For: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	if err := spy.ReportIP(w.ctx, netip.MustParseAddr("203.0.113.78")); err != nil {
		t.Fatal(err)
	}
	for _, v := range w.m.stored() {
		seen = append(seen, v)
	}
	for _, b := range seen {
		for _, s := range [][]byte{[]byte("203.0."), {203, 0, 113}, []byte("2001:"), {0x20, 0x01, 0x0d, 0xb8}} {
			if bytes.Contains(b, s) {
				t.Errorf("%q is in %x", s, b)
			}
		}
	}
	if n := len(must(w.IPBlocks())(t)); n != 2 {
		t.Errorf("%d networks are listed, want 2: addresses are hashes only", n)
	}
	otherWorld := newWorld(t)
	otherWorld.m.s.meta.edit(unit{}).Salt = []byte("another federation's")
	a, b := w.hashNetwork(network("10.0.0.0/8")), otherWorld.hashNetwork(network("10.0.0.0/8"))
	if a.Hash == b.Hash || slices.Equal(a.Sealed, b.Sealed) {
		t.Error("two federations hash alike")
	}
}

// A spyLog shows commands before they are applied.
type spyLog struct {
	*world
	see func(cmd []byte)
}

func (s spyLog) DoEverywhere(ctx context.Context, cmds ...[]byte) ([]Result, error) {
	for _, c := range cmds {
		s.see(c)
	}
	return s.Do(ctx, cmds...)
}
