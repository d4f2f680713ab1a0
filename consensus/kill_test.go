package consensus

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const childEnv = "HORDE_CONSENSUS_CHILD"

// A process that is killed again and again loses nothing that it acknowledged.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		killedChild(t, dir)
		return
	}
	dir := t.TempDir()
	var acked []string
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$", "-test.count=1")
		cmd.Env = append(os.Environ(), childEnv+"="+dir, fmt.Sprintf("ROUND=%d", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, n := bufio.NewScanner(out), 0
		for lines.Scan() {
			p, ok := strings.CutPrefix(lines.Text(), "ack ")
			if !ok {
				t.Errorf("child: %s", lines.Text())
				continue
			}
			acked = append(acked, p)
			if n++; n == 300+170*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		cmd.Wait() //nolint:errcheck // it was killed
		if n < 300 {
			t.Fatalf("round %d: %d acknowledged", round, n)
		}
	}
	sm := newCounter()
	g, err := open(Config{Dir: dir, Self: "a", Streams: newMemNet().join("a")}, sm, quick())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	waitFor(t, "the log to be applied", func() bool { _, err := g.Barrier(t.Context()); return err == nil })
	for _, p := range acked {
		if sm.count(p) != 1 {
			t.Fatalf("%s is counted %d times, want 1", p, sm.count(p))
		}
	}
}

func killedChild(t *testing.T, dir string) {
	tu := quick()
	tu.trailing, tu.flushDelay = 10, 1
	g, err := open(Config{Dir: dir, Self: "a", Streams: newMemNet().join("a")}, newCounter(), tu)
	if err != nil {
		fmt.Println(err)
		t.Fatal(err)
	}
	if !g.HasState() {
		if err := g.Bootstrap(); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "leadership", g.IsLeader)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				p := fmt.Sprintf("%s-%d-%d", os.Getenv("ROUND"), w, i)
				if _, _, err := g.Propose(t.Context(), []byte(p)); err != nil {
					fmt.Println(err)
					return
				}
				fmt.Println("ack", p)
				if w == 0 && i%20 == 19 {
					if err := g.Snapshot(); err != nil {
						fmt.Println(err)
					}
				}
			}
		})
	}
	wg.Wait()
}
