//go:build faults

package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Disks that lie, fail, fill up or are slow, under the real binary. Two tools make them:
//
//	power()   a file system in a file. What the nodes did not sync is in the kernel's memory and not
//	          in the file, so a copy of the file is the disk after a power cut
//	strace    changes what the kernel answers to a node's system calls: an error, a success
//	          that is none, a delay, a death
//
// Rows are those of the fault matrix in docs/reliability.md.

// A power is a disk whose power can be cut.
type power struct {
	t          *testing.T
	image, dir string
}

func newPower(t *testing.T) *power {
	p := &power{t: t, image: filepath.Join(t.TempDir(), "disk.img"), dir: filepath.Join(t.TempDir(), "disk")}
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a disk image")
	}
	for _, args := range [][]string{
		{"truncate", "-s", "2G", p.image}, {"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", p.image}, {"mkdir", p.dir},
	} {
		p.must(args...)
	}
	p.mount()
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", p.dir).CombinedOutput(); err != nil {
			t.Logf("umount: %v: %s", err, out)
		}
	})
	return p
}

// mount mounts the image; the file system writes nothing back by itself for five minutes.
func (p *power) mount() {
	p.t.Helper()
	if out, err := exec.Command("mount", "-o", "loop,commit=300", p.image, p.dir).CombinedOutput(); err != nil {
		p.t.Skipf("no loop-mounted disks here: %v: %s", err, out)
	}
}

func (p *power) must(args ...string) {
	p.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// cut ends the given nodes, all that run on this disk, and what they had not synced is gone.
func (p *power) cut(nodes ...*process) {
	p.t.Helper()
	unsynced := filepath.Join(p.dir, "unsynced")
	if err := os.WriteFile(unsynced, bytes.Repeat([]byte("x"), 100_000), 0o600); err != nil {
		p.t.Fatal(err)
	}
	for _, n := range nodes {
		if err := n.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			p.t.Fatal(err)
		}
	}
	after := p.image + ".after"
	p.must("cp", "--sparse=always", p.image, after)
	for _, n := range nodes {
		n.kill()
	}
	p.must("umount", p.dir)
	p.must("mv", after, p.image)
	p.mount()
	if info, err := os.Stat(unsynced); err == nil && info.Size() > 0 {
		if b, err := os.ReadFile(unsynced); err == nil && bytes.Contains(b, []byte("xxxx")) {
			p.t.Fatal("what was not synced is still there: this was no power cut")
		}
	}
}

// on moves the data of a node that has not been started to the disk.
func (p *power) on(n *process) *process {
	n.setFlag("--data", filepath.Join(p.dir, n.name))
	n.data = filepath.Join(p.dir, n.name)
	return n
}

// voting waits until so many vote.
func voting(nodes []*process, want int) {
	nodes[0].t.Helper()
	nodes[0].eventually(60*time.Second, "voters", func() error {
		if got := nodes[0].voters(); got != want {
			return fmt.Errorf("%d vote, want %d", got, want)
		}
		return nil
	})
}

// interfere attaches strace with one injection to a running process, for good, or until the returned
// function is called.
func interfere(p *process, inject string) (stop func()) {
	p.t.Helper()
	calls, _, _ := strings.Cut(inject, ":")
	cmd := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace="+calls, "-e", "signal=none", "-e", "inject="+inject, "-p", fmt.Sprint(p.cmd.Process.Pid))
	var out printed
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		p.t.Skipf("no strace here: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it ends with the process, or is told to
		close(ended)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
			select {
			case <-ended:
			case <-time.After(5 * time.Second): // it waits for a delay of its own
				_ = cmd.Process.Kill()
				<-ended
			}
		})
	}
	p.t.Cleanup(stop)
	p.eventually(20*time.Second, "strace", func() error {
		if strings.Contains(out.String(), "attached") {
			return nil
		}
		select {
		case <-ended:
			p.t.Skipf("strace may not trace here: %s", out.String())
		default:
		}
		return errors.New("not attached yet: " + out.String())
	})
	return stop
}

// launchTraced is launch under strace with further arguments for strace.
func (p *process) launchTraced(args ...string) {
	p.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		p.t.Skipf("no strace here: %v", err)
	}
	p.mu.Lock()
	p.out = &printed{}
	p.cmd = exec.Command("strace", slices.Concat([]string{"-f", "-qq", "-o", os.DevNull, "-e", "signal=none"}, args, []string{binary}, p.args)...)
	p.cmd.Env = append(os.Environ(), "HORDE_TEST_APIKEYS=1", "HORDE_TEST_RATELIMIT_DISABLED=1")
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	// strace lets the program go on when it is killed itself: they end together.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	exited := make(chan struct{})
	p.exited = exited
	if err := p.cmd.Start(); err != nil {
		p.mu.Unlock()
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	cmd := p.cmd
	p.mu.Unlock()
	p.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // an error means that all have ended
	go func() {
		_ = cmd.Wait() // the tests look at what it did
		close(exited)
	}()
}

// Row 4: the node dies right before each of many system calls that snapshots, compaction and the
// database's housekeeping make: renames, removals, cuts, syncs.
func TestFault04KillAtFileOperations(t *testing.T) {
	smallSnapshots(t)
	p := startFirst(t, "a")
	reg := startRegister(t, []*process{p}, "file")
	reg.more(30)
	p.kill()
	deaths := 0
	for _, at := range []struct {
		calls string
		n     int
	}{{"renameat", 1}, {"renameat", 2}, {"unlinkat", 1}, {"unlinkat", 3}, {"unlinkat", 8}, {"fsync", 4}, {"fsync", 11}, {"ftruncate", 3}} {
		p.launchTraced("-e", "trace="+at.calls, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", at.calls, at.n))
		select {
		case <-p.exited:
			deaths++
		case <-time.After(15 * time.Second): // so many such calls it does not make
			if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-p.exited
		}
		p.start()
		reg.more(30)
		p.kill()
	}
	if deaths < 5 {
		t.Errorf("%d deaths at file operations, want at least 5: the test does not test", deaths)
	}
	p.start()
	reg.finish()
	reg.everywhere(p)
	verified(t, p)
}

// Row 5: the power of all nodes goes at once. What was acknowledged had been synced.
func TestFault05PowerLossAll(t *testing.T) {
	disk := newPower(t)
	nodes := []*process{disk.on(newProcess(t, "a")), disk.on(newProcess(t, "b")), disk.on(newProcess(t, "c"))}
	nodes[0].start()
	for _, n := range nodes[1:] {
		n.start("--join", strings.TrimSpace(nodes[0].command("invite")))
	}
	voting(nodes, 3)
	for round := range 2 {
		reg := startRegister(t, nodes, fmt.Sprintf("power%d", round))
		reg.more(40)
		disk.cut(nodes...)
		reg.finish()
		for _, n := range nodes {
			n.launch()
		}
		reg.everywhere(nodes...)
	}
	verified(t, nodes...)
}

// Row 5, one node: it comes back with what it had synced and catches up.
func TestFault05PowerLossOne(t *testing.T) {
	disk := newPower(t)
	nodes := startFederation(t, 2)
	victim := disk.on(newProcess(t, "c"))
	victim.start("--join", strings.TrimSpace(nodes[0].command("invite")))
	nodes = append(nodes, victim)
	voting(nodes, 3)
	reg := startRegister(t, nodes, "power")
	reg.more(40)
	disk.cut(victim)
	reg.more(10) // the others go on
	victim.launch()
	reg.more(10)
	reg.finish()
	reg.everywhere(nodes...)
	verified(t, nodes...)
}

// Row 7: the disk of one node says that it has synced and has not, and then loses power. The
// node learns from the others that it forgot, and comes back as a learner; they lose nothing.
func TestFault07LyingSync(t *testing.T) {
	disk := newPower(t)
	nodes := startFederation(t, 2)
	victim := disk.on(newProcess(t, "c"))
	victim.start("--join", strings.TrimSpace(nodes[0].command("invite")))
	nodes = append(nodes, victim)
	voting(nodes, 3)
	reg := startRegister(t, nodes, "lying")
	reg.more(10)
	stop := interfere(victim, "msync,fsync,fdatasync:retval=0")
	reg.more(60)
	made := time.Now()
	victim.eventually(30*time.Second, "a hello that says how far it is", func() error {
		if time.Since(made) < 7*time.Second { // it is said every five
			return errors.New("not yet")
		}
		return nil
	})
	stop()
	disk.cut(victim)
	reg.more(5)
	victim.launch()
	reg.more(5)
	reg.finish()
	reg.everywhere(nodes...)
	voting(nodes, 3)
	verified(t, nodes...)
}

// Row 8: a sync fails. Nobody knows what is on the disk then, so the node stops at once and
// acknowledges nothing; the others elect another leader.
func TestFault08SyncFails(t *testing.T) {
	nodes := startFederation(t, 3)
	reg := startRegister(t, nodes, "eio")
	reg.more(10)
	victim := leaderOf(nodes)
	interfere(victim, "msync:error=EIO:when=1..3")
	if code := victim.ended(60 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	victim.says(time.Second, "input/output error")
	reg.more(10)
	victim.start()
	reg.more(5)
	reg.finish()
	reg.everywhere(nodes...)
	verified(t, nodes...)
}

// Row 9: a file of the stored state cannot be read. The node builds the state anew from snapshot
// and log. (At run time nothing is read from it but for snapshots, through mapped memory: there
// an unreadable page ends the process, and this is what its next start does.)
func TestFault09ReadFails(t *testing.T) {
	for _, file := range []string{"ledger/state-*/*.sst", "ledger/state-*/MANIFEST"} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			smallSnapshots(t)
			p := startFirst(t, "a")
			reg := startRegister(t, []*process{p}, "read")
			reg.more(60)
			reg.finish()
			p.stop() // which writes tables
			paths, err := filepath.Glob(filepath.Join(p.data, file))
			if err != nil || len(paths) == 0 {
				t.Fatalf("no file %s: %v", file, err)
			}
			args := []string{"-e", "trace=read,pread64", "-e", "inject=read,pread64:error=EIO"}
			for _, path := range paths {
				args = append(args, "-P", path)
			}
			p.launchTraced(args...)
			p.says(60*time.Second, "stored state is damaged, rebuilding it")
			reg.everywhere(p)
			if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-p.exited
			p.start()
			reg.everywhere(p)
			verified(t, p)
		})
	}
}

// rate counts how many accounts eight clients make in a while.
func rate(nodes []*process, name string, d time.Duration) float64 {
	var n atomic.Int64
	var wg sync.WaitGroup
	until := time.Now().Add(d)
	for i := range 8 {
		wg.Go(func() {
			for k := 0; time.Now().Before(until); k++ {
				who := fmt.Sprintf("%s-%d-%d", name, i, k)
				if _, err := call("POST", nodes[i%len(nodes)].url+"/api/v2/dev/test-user", "", map[string]any{
					"username": who, "oauth_id": who, "kudos": 1, "trusted": true, "moderator": false,
				}, nil); err == nil {
					n.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / d.Seconds()
}

// Row 14: the disk of one node is full. The others commit as fast as before.
func TestFault14FullDiskOnOne(t *testing.T) {
	disk := loopDisk(t, 700)
	nodes := startFederation(t, 2)
	full := newProcess(t, "c")
	full.setFlag("--data", filepath.Join(disk, "c"))
	full.data = filepath.Join(disk, "c")
	full.start("--join", strings.TrimSpace(nodes[0].command("invite")))
	voting(nodes, 3)
	rate(nodes, "warm", time.Second)
	before := rate(nodes, "before", 3*time.Second)
	leave(t, disk, 20)
	if code := full.ended(30 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	after := 0.0
	for i := 0; i < 3 && after < 0.7*before; i++ { // others use this machine, too
		after = max(after, rate(nodes, fmt.Sprintf("after%d", i), 3*time.Second))
	}
	t.Logf("%.0f accounts a second before, %.0f after", before, after)
	if after < 0.7*before {
		t.Errorf("%.0f accounts a second after %.0f, want 0.7 of it at least", after, before)
	}
}

// termAndRole are a node's term and role.
func (p *process) termAndRole() (term uint64, role string, err error) {
	out, err := exec.Command(binary, "status", "--json", "--data", p.data).Output()
	if err != nil {
		return 0, "", err
	}
	var s struct {
		Term uint64
		Role string
	}
	err = json.Unmarshal(out, &s)
	return s.Term, s.Role, err
}

// Row 15: each sync of the leader's disk takes 150 ms. Writes go on, nobody stands for election
// because of it, and before long a node with a better disk leads.
func TestFault15SlowDiskOnLeader(t *testing.T) {
	nodes := startFederation(t, 3)
	reg := startRegister(t, nodes, "slow")
	reg.more(10)
	victim := leaderOf(nodes)
	before, _, err := victim.termAndRole()
	if err != nil {
		t.Fatal(err)
	}
	interfere(victim, "msync:delay_exit=150000")
	reg.more(10) // slow, but it goes on
	victim.eventually(90*time.Second, "another leader", func() error {
		_, role, err := victim.termAndRole()
		if err == nil && role == "leader" {
			err = errors.New("it still leads")
		}
		return err
	})
	reg.more(20)
	after, _, err := victim.termAndRole()
	if err != nil {
		t.Fatal(err)
	}
	if after > before+3 {
		t.Errorf("terms went from %d to %d: an election storm", before, after)
	}
	reg.finish()
	reg.everywhere(nodes...)
}

// Row 15, the worst: a sync does not return. After 10 seconds the process says so and ends, and
// another leads.
func TestFault15DiskHangs(t *testing.T) {
	nodes := startFederation(t, 3)
	reg := startRegister(t, nodes, "hang")
	reg.more(10)
	victim := leaderOf(nodes)
	stop := interfere(victim, "msync:delay_enter=100000000")
	victim.says(60*time.Second, "a write to the log has taken more than 10s")
	victim.says(60*time.Second, "the disk does not answer: this process ends")
	reg.more(5) // the others need not wait for the end
	victim.eventually(60*time.Second, "the end of the process", func() error {
		// It is a zombie until strace lets go of the thread that it holds up.
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", victim.cmd.Process.Pid)); err == nil && !bytes.Contains(b, []byte(") Z ")) {
			return errors.New("it goes on")
		}
		return nil
	})
	stop()
	if code := victim.ended(60 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	reg.more(10)
	victim.start()
	reg.finish()
	reg.everywhere(nodes...)
	verified(t, nodes...)
}
