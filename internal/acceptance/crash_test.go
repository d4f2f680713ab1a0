//go:build faults

package acceptance

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The crash suite: nodes that are killed, disks that are damaged, full or copied. Every test
// keeps a list of what was acknowledged and looks for all of it at every node afterwards.
//
// Tests named Long run only when asked for: go test -tags faults -run Long ./internal/acceptance

// long skips a test that takes minutes unless -run names it.
func long(t *testing.T) {
	t.Helper()
	if f := flag.Lookup("test.run"); f == nil || !strings.Contains(f.Value.String(), "Long") {
		t.Skip("takes minutes: ask for it with -run Long")
	}
}

// longRow skips a row of the fault matrix that takes minutes unless -run asks for it, or for
// long ones: with a pattern that does not fit any row.
func longRow(t *testing.T) {
	t.Helper()
	pattern := ""
	if f := flag.Lookup("test.run"); f != nil {
		pattern, _, _ = strings.Cut(f.Value.String(), "/")
	}
	if anyRow, err := regexp.MatchString(pattern, "TestFault00"); err != nil || anyRow {
		t.Skip("takes minutes: ask for it with -run Long, or by its number")
	}
}

// smallSnapshots makes nodes shorten their logs all the time.
func smallSnapshots(t *testing.T) { t.Setenv("HORDE_TEST_SNAPSHOT_AFTER", "25") }

// A register makes accounts at random nodes and remembers those that were acknowledged.
type register struct {
	t     *testing.T
	nodes []*process
	name  string
	stop  chan struct{}
	wg    sync.WaitGroup

	mu    sync.Mutex
	acked map[string]float64 // user id → kudos it was made with
}

func startRegister(t *testing.T, nodes []*process, name string) *register {
	r := &register{t: t, nodes: nodes, name: name, stop: make(chan struct{}), acked: map[string]float64{}}
	for i := range 2 {
		r.wg.Go(func() { r.run(i) })
	}
	return r
}

func (r *register) run(i int) {
	rnd := rand.New(rand.NewPCG(uint64(i), 7))
	for n := 1; ; n++ {
		select {
		case <-r.stop:
			return
		case <-time.After(10 * time.Millisecond): // a client's pace
		}
		r.one(r.nodes[rnd.IntN(len(r.nodes))], fmt.Sprintf("%s-%d-%d", r.name, i, n), float64(1000+n))
	}
}

func (r *register) one(p *process, name string, kudos float64) {
	var a struct {
		ID string `json:"user_id"`
	}
	_, err := call("POST", p.url+"/api/v2/dev/test-user", "", map[string]any{
		"username": name, "oauth_id": name, "kudos": int(kudos), "trusted": true, "moderator": false,
	}, &a)
	if err != nil {
		return // not acknowledged
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked[a.ID] = kudos
}

func (r *register) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.acked)
}

// more waits until n accounts more were acknowledged.
func (r *register) more(n int) {
	r.t.Helper()
	want := r.count() + n
	r.nodes[0].eventually(60*time.Second, "acknowledged accounts", func() error {
		if got := r.count(); got < want {
			return fmt.Errorf("%d, want %d", got, want)
		}
		return nil
	})
}

func (r *register) finish() {
	close(r.stop)
	r.wg.Wait()
}

// everywhere checks that every acknowledged account is at every given node with its kudos.
func (r *register) everywhere(nodes ...*process) {
	r.t.Helper()
	if len(r.acked) == 0 {
		r.t.Fatal("nothing was acknowledged")
	}
	for _, p := range nodes {
		p.eventually(30*time.Second, "all that was acknowledged", func() error {
			for id, want := range r.acked {
				if got, err := p.kudos(id); err != nil || got != want {
					return fmt.Errorf("user %s has %v (%v), want %v", id, got, err, want)
				}
			}
			return nil
		})
	}
}

// tool runs a hordenode command that may fail.
func tool(args ...string) (out string, code int) {
	b, err := exec.Command(binary, args...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return string(b), exit.ExitCode()
	case err != nil:
		return err.Error(), -1
	}
	return string(b), 0
}

// verified stops the nodes and verifies their ledgers; equal entries mean equal state.
func verified(t *testing.T, nodes ...*process) {
	t.Helper()
	hashes := map[float64]string{}
	for _, p := range nodes {
		p.halt()
	}
	for _, p := range nodes {
		out, code := tool("ledger", "verify", "--json", "--data", p.data)
		var r struct {
			Applied   float64 `json:"applied"`
			StateHash string  `json:"state_hash"`
		}
		if code != 0 || json.Unmarshal([]byte(out), &r) != nil {
			t.Errorf("ledger verify of %s ended with %d:\n%s", p.name, code, out)
			continue
		}
		if h, ok := hashes[r.Applied]; ok && h != r.StateHash {
			t.Errorf("two nodes differ at entry %v: %s and %s", r.Applied, h, r.StateHash)
		}
		hashes[r.Applied] = r.StateHash
	}
}

// says waits until a process has printed something.
func (p *process) says(most time.Duration, text string) {
	p.t.Helper()
	p.eventually(most, "the message "+text, func() error {
		if !strings.Contains(p.output(), text) {
			return errors.New("not yet:\n" + tail(p.output(), 15))
		}
		return nil
	})
}

// output is what the process has printed since it was started.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// ended waits until the process is gone.
func (p *process) ended(most time.Duration) (code int) {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(most):
		p.t.Fatalf("%s goes on:\n%s", p.name, tail(p.output(), 30))
		return 0
	}
}

func killLeaders(t *testing.T, rounds int) {
	nodes := startFederation(t, 3)
	reg := startRegister(t, nodes, "leader")
	for range rounds {
		reg.more(5)
		victim := leaderOf(nodes)
		victim.kill()
		reg.more(5)
		victim.start()
	}
	reg.finish()
	reg.everywhere(nodes...)
	verified(t, nodes...)
}

// Row 1: the leader is killed again and again while accounts are made.
func TestCrashLeader(t *testing.T)     { killLeaders(t, 2) }
func TestCrashLeaderLong(t *testing.T) { long(t); killLeaders(t, 25) }

// Row 2: a follower is killed and catches up, also over a log that was shortened meanwhile.
func TestCrashFollower(t *testing.T) {
	smallSnapshots(t)
	nodes := startFederation(t, 3)
	victim := nodes[0]
	if leaderOf(nodes) == victim {
		victim = nodes[1]
	}
	reg := startRegister(t, nodes, "follower")
	reg.more(5)
	victim.kill()
	reg.more(80) // a few snapshots: it must be sent one
	victim.start()
	reg.more(5)
	reg.finish()
	reg.everywhere(nodes...)
	verified(t, nodes...)
}

func killAll(t *testing.T, rounds int) {
	nodes := startFederation(t, 3)
	all := &register{t: t, nodes: nodes, acked: map[string]float64{}}
	for i := range rounds {
		reg := startRegister(t, nodes, fmt.Sprintf("all%d", i))
		reg.more(10)
		for _, n := range nodes {
			n.kill()
		}
		reg.finish()
		for id, k := range reg.acked {
			all.acked[id] = k
		}
		for _, n := range nodes {
			n.launch()
		}
		all.everywhere(nodes...)
	}
	verified(t, nodes...)
}

// Row 3: all nodes are killed at once.
func TestCrashAll(t *testing.T)     { killAll(t, 2) }
func TestCrashAllLong(t *testing.T) { long(t); killAll(t, 20) }

func killInSnapshots(t *testing.T, rounds int) {
	smallSnapshots(t)
	p := startFirst(t, "a")
	reg := startRegister(t, []*process{p}, "snapshot")
	rnd := rand.New(rand.NewPCG(1, 1))
	for range rounds {
		// A snapshot is due every half second: any moment is near one.
		reg.more(10 + rnd.IntN(40))
		p.kill()
		p.start()
	}
	reg.finish()
	reg.everywhere(p)
	verified(t, p)
}

// Row 4: a node is killed while it takes snapshots and shortens its log.
func TestCrashSnapshot(t *testing.T)     { killInSnapshots(t, 4) }
func TestCrashSnapshotLong(t *testing.T) { long(t); killInSnapshots(t, 60) }

// Rows 10 and 12: each kind of file is damaged while the node is stopped. With peers the node
// repairs itself or says what is wrong, and never serves what is not so; alone it repairs what
// it can derive and refuses the rest.
func TestCrashDamagedFiles(t *testing.T) {
	smallSnapshots(t)
	flip := func(t *testing.T, path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[min(len(b)/2, 40)] ^= 0x40
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cut := func(t *testing.T, path string) {
		info, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, min(info.Size()/2, 60))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	remove := func(t *testing.T, path string) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		file   string // pattern below the data directory
		do     func(*testing.T, string)
		killed bool   // stopped by kill -9, so that there are write-ahead logs
		alone  string // what a node without peers says; empty: it serves
		peers  string // what one with peers says; empty: it serves, and repairs itself silently
		refuse bool   // with peers it refuses too
	}{
		{name: "log, write-ahead log damaged", file: "ledger/raft/log/*.mem", do: flip, killed: true, alone: "restore a backup", peers: "begin anew as a learner"},
		{name: "log, write-ahead log gone", file: "ledger/raft/log/*.mem", do: remove, killed: true, alone: "restore a backup", peers: "begin anew as a learner"},
		{name: "log, table damaged", file: "ledger/raft/log/*.sst", do: flip, alone: "restore a backup", peers: "begin anew as a learner"},
		{name: "log, table cut short", file: "ledger/raft/log/*.sst", do: cut, alone: "restore a backup", peers: "begin anew as a learner"},
		{name: "log gone", file: "ledger/raft/log", do: remove, alone: "restore a backup", peers: "begin anew as a learner"},
		{name: "state, table damaged", file: "ledger/state-*/*.sst", do: flip, alone: "", peers: ""},
		{name: "state, table cut short", file: "ledger/state-*/*.sst", do: cut, alone: "", peers: ""},
		{name: "state gone", file: "ledger/state-*", do: remove, alone: "", peers: ""},
		{name: "CURRENT cut short", file: "ledger/CURRENT", do: cut, alone: "", peers: ""},
		{name: "high-water mark gone", file: "ledger/raft/hwm", do: remove, alone: "", peers: ""},
		{name: "federation.json cut short", file: "federation.json", do: cut, alone: "federation.json is damaged", peers: "federation.json is damaged", refuse: true},
		{name: "node.key cut short", file: "node.key", do: cut, alone: "node.key", peers: "node.key", refuse: true},
		{name: "boot cut short", file: "boot", do: cut, alone: "boot is damaged", peers: "boot is damaged", refuse: true},
	} {
		damage := func(t *testing.T, p *process) {
			if tt.killed {
				p.kill()
			} else {
				p.stop()
			}
			files, err := filepath.Glob(filepath.Join(p.data, tt.file))
			if err != nil || len(files) == 0 {
				t.Fatalf("no file %s: %v", tt.file, err)
			}
			for _, f := range files {
				tt.do(t, f)
			}
		}
		t.Run(tt.name+", alone", func(t *testing.T) {
			p := startFirst(t, "a")
			reg := startRegister(t, []*process{p}, "alone")
			reg.more(60)
			reg.finish()
			damage(t, p)
			p.launch()
			if tt.alone == "" {
				reg.everywhere(p)
				return
			}
			if code := p.ended(30 * time.Second); code == 0 {
				t.Errorf("exit code 0, want a failure")
			}
			p.says(time.Second, tt.alone)
		})
		if tt.refuse && !tt.killed {
			continue // the same with peers
		}
		t.Run(tt.name+", with peers", func(t *testing.T) {
			nodes := startFederation(t, 3)
			reg := startRegister(t, nodes, "peers")
			reg.more(60)
			damage(t, nodes[2])
			reg.more(5) // the others go on
			nodes[2].launch()
			if tt.peers != "" {
				nodes[2].says(60*time.Second, tt.peers)
			}
			reg.more(5)
			reg.finish()
			reg.everywhere(nodes...)
			nodes[0].eventually(60*time.Second, "three voters again", func() error {
				if got := nodes[0].voters(); got != 3 {
					return fmt.Errorf("%d vote", got)
				}
				return nil
			})
			verified(t, nodes...)
		})
	}
}

// Rows 13 and 14: the disk of one node fills up. It stops taking requests, then itself, with a
// message; the others go on; with room again it comes back.
func TestCrashFullDisk(t *testing.T) {
	disk := loopDisk(t, 700)
	nodes := startFederation(t, 2)
	full := newProcess(t, "c")
	full.setFlag("--data", filepath.Join(disk, "c"))
	full.data = filepath.Join(disk, "c")
	full.start("--join", strings.TrimSpace(nodes[0].command("invite")))
	nodes = append(nodes, full)
	key, _ := nodes[0].testUser("fills", 10000, true)
	other, _ := nodes[0].testUser("fills others", 10000, true)
	reg := startRegister(t, nodes, "full")
	reg.more(10)

	leave(t, disk, 100) // below the first mark of 128 MiB
	order := map[string]any{"prompt": "p", "models": []string{"kill/model"}, "params": map[string]any{"max_length": 80, "max_context_length": 1024}}
	full.eventually(20*time.Second, "no new requests", func() error {
		status, _ := call("POST", full.url+"/api/v2/generate/text/async", key, order, nil)
		if status != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d, want 503", status)
		}
		return nil
	})
	if status, err := call("POST", nodes[0].url+"/api/v2/generate/text/async", other, order, nil); err != nil {
		t.Errorf("the others refuse too: %d %v", status, err)
	}
	leave(t, disk, 20) // below the second of 32 MiB
	if code := full.ended(20 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	full.says(time.Second, "the disk of the data directory is full")
	reg.more(10) // the others go on
	full.launch()
	if code := full.ended(20 * time.Second); code != 1 {
		t.Errorf("started on a full disk: exit code %d", code)
	}
	leave(t, disk, 0)
	full.start()
	reg.more(10)
	reg.finish()
	reg.everywhere(nodes...)
	verified(t, nodes...)
}

// loopDisk mounts a new file system of the given size in MiB.
func loopDisk(t *testing.T, size int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a disk image")
	}
	image, dir := filepath.Join(t.TempDir(), "disk.img"), filepath.Join(t.TempDir(), "disk")
	for _, args := range [][]string{
		{"truncate", "-s", fmt.Sprintf("%dM", size), image},
		{"mkfs.ext4", "-q", "-F", image},
		{"mkdir", dir},
		{"mount", "-o", "loop", image, dir},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no loop-mounted disks here: %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Logf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// leave fills a disk until so many MiB are free; 0 empties it.
func leave(t *testing.T, disk string, mib int) {
	t.Helper()
	filler := filepath.Join(disk, "filler")
	if mib == 0 {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		return
	}
	out, err := exec.Command("df", "--output=avail", "-m", disk).Output()
	if err != nil {
		t.Fatal(err)
	}
	var avail, have int
	if _, err := fmt.Sscanf(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(out)), "Avail")), "%d", &avail); err != nil {
		t.Fatalf("df: %v: %s", err, out)
	}
	if info, err := os.Stat(filler); err == nil {
		have = int(info.Size() >> 20)
	}
	if out, err := exec.Command("fallocate", "-l", fmt.Sprintf("%dM", have+avail-mib), filler).CombinedOutput(); err != nil {
		t.Fatalf("fallocate: %v: %s", err, out)
	}
}

// Row 31: a copy of a data directory runs beside the original. The one that was started first
// learns it and stops.
func TestCrashCopiedDirectory(t *testing.T) {
	nodes := startFederation(t, 3)
	reg := startRegister(t, nodes[:2], "copy")
	reg.more(5)
	nodes[2].stop()
	twin := newProcess(t, "c")
	copyDir(t, nodes[2].data, twin.data)
	nodes[2].start()
	twin.launch()
	if code := nodes[2].ended(60 * time.Second); code != 1 {
		t.Errorf("the older process ended with %d, want 1", code)
	}
	nodes[2].says(time.Second, "another process runs with the identity of this node")
	reg.more(5)
	reg.finish()
	reg.everywhere(nodes[0], nodes[1], twin)
	verified(t, nodes[0], nodes[1], twin)
}

// An old copy of a data directory takes the place of the node: it must not vote with what it
// forgot, and heals.
func TestCrashOldCopy(t *testing.T) {
	nodes := startFederation(t, 3)
	old := filepath.Join(t.TempDir(), "old")
	nodes[2].stop()
	copyDir(t, nodes[2].data, old)
	nodes[2].start()
	reg := startRegister(t, nodes, "old")
	reg.more(20)
	made := time.Now()
	nodes[2].eventually(30*time.Second, "a hello after the last entry", func() error {
		if time.Since(made) < 7*time.Second { // it is said every five
			return errors.New("not yet")
		}
		return nil
	})
	nodes[2].stop()
	if err := os.RemoveAll(nodes[2].data); err != nil {
		t.Fatal(err)
	}
	copyDir(t, old, nodes[2].data)
	nodes[2].launch()
	nodes[2].says(60*time.Second, "begin anew as a learner")
	reg.more(5)
	reg.finish()
	reg.everywhere(nodes...)
	verified(t, nodes...)
}

// Row 49: a backup is older than the ledger. What is restored from it is a federation of its
// own and says so.
func TestCrashRestoreOlderThanLog(t *testing.T) {
	nodes := startFederation(t, 2)
	before := startRegister(t, nodes, "before")
	before.more(10)
	before.finish()
	file := filepath.Join(t.TempDir(), "backup.hrd")
	nodes[0].command("backup", file)
	after := startRegister(t, nodes, "after")
	after.more(10)
	after.finish()

	fork := newProcess(t, "fork")
	out, code := tool("restore", file, "--data", fork.data, "--name", "fork")
	if code != 0 || !strings.Contains(out, "FORK") || !strings.Contains(out, "epoch 2") {
		t.Fatalf("restore ended with %d:\n%s", code, out)
	}
	if out, code := tool("restore", file, "--data", fork.data); code == 0 {
		t.Errorf("a second restore went over the first:\n%s", out)
	}
	fork.launch("--join", strings.TrimSpace(nodes[0].command("invite")))
	if code := fork.ended(20 * time.Second); code == 0 {
		t.Error("the fork joined the federation that it is an old copy of")
	}
	fork.says(time.Second, "parted by a restore")

	fork.start()
	before.everywhere(fork)
	for id := range after.acked {
		if _, err := fork.kudos(id); err == nil {
			t.Errorf("user %s was made after the backup and is in it", id)
		}
	}
	fork.testUser("goes on", 5, false)
	after.everywhere(nodes...)
	verified(t, fork)
	verified(t, nodes...)
}

// Row 17: two of three voters are lost for good. The third cannot write, is recovered, and
// goes on in a new epoch; what comes back with the old one is refused until it rejoins.
func TestCrashLostMajority(t *testing.T) {
	nodes := startFederation(t, 3)
	reg := startRegister(t, nodes, "majority")
	reg.more(10)
	reg.finish()
	reg.everywhere(nodes...)
	var ids []struct{ ID, Name string }
	if err := json.Unmarshal([]byte(nodes[0].command("members", "--json")), &ids); err != nil {
		t.Fatal(err)
	}
	nodes[1].kill()
	nodes[2].kill()
	if status, err := call("POST", nodes[0].url+"/api/v2/dev/test-user", "", map[string]any{"username": "no", "oauth_id": "no", "kudos": 1}, nil); err == nil {
		t.Errorf("a write without a majority was acknowledged: %d", status)
	}
	nodes[0].kill()
	var peers []map[string]string
	for _, m := range ids {
		if m.Name != "b" { // b is given up
			peers = append(peers, map[string]string{"id": m.ID})
		}
	}
	b, err := json.Marshal(peers)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "peers.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := tool("recover", "--peers", file, "--data", nodes[0].data)
	if code != 0 || !strings.Contains(out, "epoch 2") || !strings.Contains(out, "Removed: b") {
		t.Fatalf("recover ended with %d:\n%s", code, out)
	}
	nodes[0].start()
	reg.everywhere(nodes[0])
	nodes[0].testUser("after the recovery", 7, false)

	nodes[2].launch() // with its data of epoch 1
	if code := nodes[2].ended(60 * time.Second); code != 1 {
		t.Errorf("the node of the old epoch ended with %d, want 1", code)
	}
	nodes[2].says(time.Second, "hordenode recover --rejoin --epoch 2")
	if out, code := tool("recover", "--rejoin", "--epoch", "2", "--data", nodes[2].data); code != 0 {
		t.Fatalf("rejoin: %s", out)
	}
	nodes[2].start()
	reg.everywhere(nodes[2])
	d := startJoined(t, "d", nodes[0])
	nodes[0].eventually(60*time.Second, "three voters", func() error {
		if got := nodes[0].voters(); got != 3 {
			return fmt.Errorf("%d vote", got)
		}
		return nil
	})
	verified(t, nodes[0], nodes[2], d)
}

// I10: the archive keeps the whole ledger provable while the log is shortened, and a file
// in which something was changed is found out.
func TestCrashVerifyFromGenesis(t *testing.T) {
	smallSnapshots(t)
	p := startFirst(t, "a", "--archive")
	reg := startRegister(t, []*process{p}, "archive")
	for range 3 {
		reg.more(60)
		p.kill()
		p.start()
	}
	reg.finish()
	reg.everywhere(p)
	p.kill()
	out, code := tool("ledger", "verify", "--data", p.data)
	if code != 0 || !strings.Contains(out, "with the genesis (archive)") {
		t.Fatalf("verify ended with %d:\n%s", code, out)
	}
	file := filepath.Join(t.TempDir(), "export.hrd")
	if out, code := tool("ledger", "export", file, "--data", p.data); code != 0 {
		t.Fatalf("export: %s", out)
	}
	if out, code := tool("ledger", "verify", "--file", file); code != 0 || !strings.Contains(out, "with the genesis") {
		t.Errorf("verify of the export ended with %d:\n%s", code, out)
	}
	for id, want := range reg.acked {
		if want > 1010 { // made so late that the state on disk may not have it yet
			continue
		}
		if out, code := tool("ledger", "history", id, "--data", p.data); code != 0 || !strings.Contains(out, fmt.Sprintf("Balance %.2f", want)) {
			t.Errorf("history of %s ended with %d, want balance %v:\n%s", id, code, want, out)
		}
	}
	segments, err := filepath.Glob(filepath.Join(p.data, "archive", "entries-*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no archive: %v", err)
	}
	for _, path := range []string{file, segments[0]} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"--file", file}, {"--data", p.data}} {
		if out, code := tool(append([]string{"ledger", "verify"}, args...)...); code != 1 {
			t.Errorf("verify %v of something changed ended with %d:\n%s", args, code, out)
		}
	}
}

// Row 26: the leader stands still for longer than an election takes and then goes on. It has
// acknowledged nothing that the others do not know.
func TestCrashFrozenLeader(t *testing.T) {
	nodes := startFederation(t, 3)
	reg := startRegister(t, nodes, "frozen")
	reg.more(5)
	victim := leaderOf(nodes)
	signal := func(s syscall.Signal) {
		if err := victim.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	others := slices.DeleteFunc(slices.Clone(nodes), func(p *process) bool { return p == victim })
	others[0].eventually(30*time.Second, "another leader", func() error {
		for _, m := range others[0].members() {
			if m.Role == "leader" && m.Name != victim.name {
				return nil
			}
		}
		return errors.New("none yet")
	})
	alive := startRegister(t, others, "without")
	alive.more(5)
	signal(syscall.SIGCONT)
	alive.more(5)
	alive.finish()
	reg.finish()
	alive.everywhere(nodes...)
	reg.everywhere(nodes...)
	verified(t, nodes...)
}

// copyDir copies a directory as cp -r does.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, rel); {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !d.Type().IsRegular() || d.Name() == "ballast":
			return nil
		default:
			return copyOne(path, target)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyOne(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// setFlag replaces the value of a flag of run.
func (p *process) setFlag(name, value string) {
	if i := slices.Index(p.args, name); i >= 0 {
		p.args[i+1] = value
	}
}
