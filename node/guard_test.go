package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

const gib, mib = 1 << 30, 1 << 20

func TestWatermarks(t *testing.T) {
	for _, tt := range []struct{ total, low, critical uint64 }{
		{500 * mib, 128 * mib, 32 * mib},
		{10 * gib, 512 * mib, 128 * mib},
		{100 * gib, gib, 256 * mib},
	} {
		if low, critical := watermarks(tt.total); low != tt.low || critical != tt.critical {
			t.Errorf("watermarks(%d MiB) = %d, %d MiB; want %d, %d", tt.total/mib, low/mib, critical/mib, tt.low/mib, tt.critical/mib)
		}
	}
}

// guardOf is a guard of a disk of 100 GiB that has as much free as the pointer says.
func guardOf(t *testing.T, free *uint64, ballast uint64) *diskGuard {
	t.Helper()
	g := &diskGuard{dir: t.TempDir(), ballast: ballast, log: slog.New(slog.DiscardHandler)}
	g.low, g.critical = watermarks(100 * gib)
	g.space = func(string) (uint64, uint64, error) { return *free, 100 * gib, nil }
	return g
}

func TestDiskGuardSteps(t *testing.T) {
	var free uint64
	g := guardOf(t, &free, 0)
	for _, tt := range []struct {
		free uint64
		low  bool
		stop bool
	}{
		{50 * gib, false, false},
		{900 * mib, true, false},
		{1100 * mib, true, false}, // not roomy enough to change its mind
		{2 * gib, false, false},
		{200 * mib, false, true},
	} {
		free = tt.free
		err := g.check()
		if stop := errors.Is(err, ErrDiskFull); stop != tt.stop || g.isLow.Load() != tt.low {
			t.Errorf("%d MiB free: low %v, %v; want low %v, stop %v", tt.free/mib, g.isLow.Load(), err, tt.low, tt.stop)
		}
	}
}

func TestBallastIsGivenUpOnceAndLaidAgain(t *testing.T) {
	free := uint64(50 * gib)
	g := guardOf(t, &free, mib)
	path := filepath.Join(g.dir, ballastFile)
	if err := g.admit(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != mib {
		t.Fatalf("no ballast: %v", err)
	}
	free = 100 * mib
	if err := g.admit(); !errors.Is(err, ErrDiskFull) { // removing it made no room on this disk
		t.Errorf("admit on a full disk = %v, want ErrDiskFull", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ballast is still there: %v", err)
	}
	g.space = func(string) (uint64, uint64, error) { // this time it does
		if _, err := os.Stat(path); err == nil {
			return 100 * mib, 100 * gib, nil
		}
		return 300 * mib, 100 * gib, nil
	}
	if err := layBallast(path, mib); err != nil {
		t.Fatal(err)
	}
	if err := g.admit(); err != nil {
		t.Errorf("admit with a ballast to give up = %v", err)
	}
}

func TestFullDiskRefusesNewRequestsOnly(t *testing.T) {
	var free uint64
	n := &Node{disk: guardOf(t, &free, 0)}
	for _, low := range []bool{false, true} {
		n.disk.isLow.Store(low)
		for path, refused := range map[string]bool{
			"/api/v2/generate/async": true, "/api/v2/generate/text/async": true, "/api/v2/interrogate/async": true,
			"/api/v2/generate/pop": false, "/api/v2/generate/submit": false,
		} {
			w := httptest.NewRecorder()
			if got := n.refusesWork(w, httptest.NewRequest(http.MethodPost, path, nil)); got != (low && refused) {
				t.Errorf("low %v: POST %s refused: %v", low, path, got)
			} else if got && (w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "") {
				t.Errorf("refused with %d and headers %v", w.Code, w.Header())
			}
		}
	}
}

func TestAcquaintances(t *testing.T) {
	const b = horde.NodeID("b")
	now := time.Now()
	a := newAcquaintances()
	for _, tt := range []struct {
		name    string
		says    greeting
		boot    uint64
		applied uint64
		refused bool
	}{
		{"first", greeting{Epoch: 1, Boot: 5, Applied: 100, Voter: true}, 5, 100, false},
		{"it restarts with less", greeting{Epoch: 1, Boot: 6, Applied: 50, Voter: true}, 6, 100, false},
		{"an older process", greeting{Epoch: 1, Boot: 5, Applied: 60, Voter: true}, 6, 100, false},
		{"another epoch", greeting{Epoch: 2, Boot: 7, Applied: 200, Voter: true}, 0, 0, true},
		{"its epoch again, as a learner", greeting{Epoch: 1, Boot: 8, Applied: 3}, 8, 0, false},
		{"a voter again", greeting{Epoch: 1, Boot: 8, Applied: 4, Voter: true}, 8, 4, false},
	} {
		got := a.meet(b, tt.says, 1, now)
		if got.Boot != tt.boot || got.Applied != tt.applied || a.refused(b) != tt.refused {
			t.Errorf("%s: knows %+v, refused %v; want boot %d, applied %d, refused %v", tt.name, got, a.refused(b), tt.boot, tt.applied, tt.refused)
		}
	}
	if !a.mayWarn(b, now) || a.mayWarn(b, now.Add(time.Second)) || !a.mayWarn(b, now.Add(2*time.Minute)) {
		t.Error("want a warning once a minute")
	}
}

func TestEpochsDoNotSpeakTheSameProtocol(t *testing.T) {
	r := newRoster("a", []horde.Member{{ID: "b", Active: true, Voter: true}, {ID: "c", Active: true}})
	r.peers = newAcquaintances()
	if raftProtocol(1) == raftProtocol(2) || raftProtocol(2) == raftProtocol(3) {
		t.Error("two epochs have one protocol")
	}
	for _, proto := range []string{raftProtocol(1), raftProtocol(2)} {
		if !r.MaySpeak("b", proto) || r.MaySpeak("c", proto) {
			t.Errorf("%s: want it for those who may vote only", proto)
		}
	}
	r.peers.meet("b", greeting{Epoch: 2}, 1, time.Now())
	if r.MaySpeak("b", protoApply) || !r.MaySpeak("b", protoHello) {
		t.Error("a node of another epoch: want hello and nothing else")
	}
}

func TestBootsOfCopiesDiffer(t *testing.T) {
	d := &dataDir{path: t.TempDir()}
	ahead := uint64(time.Now().Add(time.Hour).UnixMilli())
	if err := d.write("boot", []byte{0, 0, 0, 0, 0, 0, 0, 7}); err != nil {
		t.Fatal(err)
	}
	before := uint64(time.Now().UnixMilli())
	n, err := d.nextBoot()
	if err != nil || n < before {
		t.Errorf("nextBoot = %d, %v; want the clock, %d or later", n, err, before)
	}
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(ahead >> (56 - 8*i))
	}
	if err := d.write("boot", b); err != nil {
		t.Fatal(err)
	}
	if n, err := d.nextBoot(); err != nil || n != ahead+1 {
		t.Errorf("nextBoot behind a clock that was ahead = %d, %v; want %d", n, err, ahead+1)
	}
}

// A node whose state differs starts again to heal, if there is anybody to fetch the ledger
// from; what broke otherwise ends it.
func TestWhatTheEndOfTheLedgerMeans(t *testing.T) {
	self := horde.Member{ID: "a", Active: true}
	peer := horde.Member{ID: "b", Active: true, Addrs: []string{"/ip4/127.0.0.1/tcp/1"}}
	diverged := fmt.Errorf("entry 7: %w", ledger.ErrDiverged)
	for _, tt := range []struct {
		name    string
		members []horde.Member
		err     error
		again   bool
	}{
		{"diverged", []horde.Member{self, peer}, diverged, true},
		{"diverged, alone", []horde.Member{self}, diverged, false},
		{"an unknown command", []horde.Member{self, peer}, errors.New("unknown kind"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &Node{log: slog.New(slog.DiscardHandler), dir: &dataDir{path: t.TempDir()}, roster: newRoster("a", tt.members)}
			err := n.judgeFailure(tt.err)
			_, missing := os.Stat(n.dir.join(healFile))
			if err == nil || errors.Is(err, ErrStartAgain) != tt.again || (missing == nil) != tt.again {
				t.Errorf("judgeFailure = %v, mark to heal missing: %v; want to start again: %v", err, missing, tt.again)
			}
		})
	}
}
