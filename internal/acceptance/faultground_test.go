//go:build faults

package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A ground is a network of nodes, each a process in a network namespace of its own, joined by
// a switch in this test: every packet between two nodes passes a link of which the test says
// what it loses, delays, reorders, repeats or slows. Kernel and node see a bad network, TCP and
// QUIC alike; no netem is needed, and a link may be bad one way.
//
//	namespace of a                  this test                   namespace of b
//	hordenode ─ tun 10.91.0.1 ══► links[a][b] (a fault) ══► tun 10.91.0.2 ─ hordenode
//	127.0.0.1:7001 ◄─────────────── door 127.0.0.1:7001 ◄── clients of the test
//
// Clients come through doors, so a node that is cut off is still served by its own clients.
type ground struct {
	t     *testing.T
	nodes []*process
	doors []*door
	links [][]*link
}

// grounds numbers the namespaces of this process.
var grounds atomic.Int64

// newGround prepares n nodes and starts none. It skips the test where there are no network
// namespaces to be had.
func newGround(t *testing.T, n int, flags ...string) *ground {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip of iproute2")
	}
	g := &ground{t: t}
	id := fmt.Sprintf("hf%d.%d", os.Getpid()%100_000, grounds.Add(1))
	var tuns []*os.File
	for i := range n {
		name := fmt.Sprintf("%s%c", id, 'a'+i)
		tuns = append(tuns, g.namespace(name, i))
		g.node(name, i, flags)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		g.links = append(g.links, nil)
		for j := range n {
			l := newLink(tuns[j], uint64(i*n+j))
			g.links[i] = append(g.links[i], l)
			if i != j {
				wg.Go(func() { l.run(stop) })
			}
		}
	}
	for i, tun := range tuns {
		wg.Go(func() { g.carry(i, tun) })
	}
	t.Cleanup(func() {
		close(stop)
		for _, tun := range tuns {
			_ = tun.Close() // it ends carry
		}
		wg.Wait()
	})
	return g
}

// namespace makes a network namespace whose one way out is a tun device, and returns the
// device's other end.
func (g *ground) namespace(name string, i int) *os.File {
	g.t.Helper()
	ip := func(args ...string) {
		g.t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			g.t.Skipf("no network namespaces here: ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	ip("netns", "add", name)
	g.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			g.t.Logf("ip netns del %s: %v: %s", name, err, out)
		}
	})
	tun, err := openTun(name)
	if err != nil {
		g.t.Skipf("no tun devices here: %v", err)
	}
	ip("link", "set", name, "netns", name)
	ip("-n", name, "addr", "add", fmt.Sprintf("10.91.0.%d/24", i+1), "dev", name)
	ip("-n", name, "link", "set", name, "up")
	ip("-n", name, "link", "set", "lo", "up")
	return tun
}

func openTun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// node adds a process that runs in a namespace, and doors to its API and metrics.
func (g *ground) node(namespace string, i int, flags []string) {
	api, admin, p2p := freePort(g.t), freePort(g.t), 4001
	p := &process{
		t: g.t, name: string(rune('a' + i)), data: filepath.Join(g.t.TempDir(), namespace),
		url: fmt.Sprintf("http://127.0.0.1:%d", api), admin: fmt.Sprintf("http://127.0.0.1:%d", admin),
		wrap: []string{"ip", "netns", "exec", namespace},
	}
	p.args = append([]string{
		"run", "--data", p.data, "--name", p.name,
		"--api", fmt.Sprintf("0.0.0.0:%d", api), "--public-url", fmt.Sprintf("http://10.91.0.%d:%d", i+1, api),
		"--admin-listen", fmt.Sprintf("127.0.0.1:%d", admin),
		"--p2p", fmt.Sprintf("/ip4/10.91.0.%d/tcp/%d", i+1, p2p),
		"--p2p", fmt.Sprintf("/ip4/10.91.0.%d/udp/%d/quic-v1", i+1, p2p),
	}, flags...)
	for _, port := range []int{api, admin} {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		d := openDoor(g.t, address, func() (net.Conn, error) { return dialIn(namespace, address) })
		if port == api {
			g.doors = append(g.doors, d)
		}
	}
	g.t.Cleanup(p.cleanup)
	g.nodes = append(g.nodes, p)
}

// carry gives the packets that a node sends to the links.
func (g *ground) carry(from int, tun *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := tun.Read(buf)
		if err != nil {
			return // closed, or the namespace is gone
		}
		p := buf[:n]
		if n < 20 || p[0]>>4 != 4 || !bytes.Equal(p[16:19], []byte{10, 91, 0}) {
			continue // neighbour discovery, multicast
		}
		if to := int(p[19]) - 1; to >= 0 && to < len(g.links) && to != from {
			g.links[from][to].send(p)
		}
	}
}

// oneWay sets what happens to packets from one node to another.
func (g *ground) oneWay(from, to *process, f fault) {
	g.links[slices.Index(g.nodes, from)][slices.Index(g.nodes, to)].set(f)
}

// between sets both ways of a link.
func (g *ground) between(a, b *process, f fault) {
	g.oneWay(a, b, f)
	g.oneWay(b, a, f)
}

// everyLink sets all links.
func (g *ground) everyLink(f fault) {
	for _, row := range g.links {
		for _, l := range row {
			l.set(f)
		}
	}
}

// split cuts the links between the groups.
func (g *ground) split(groups ...[]*process) {
	for i, some := range groups {
		for _, others := range groups[i+1:] {
			for _, a := range some {
				for _, b := range others {
					g.between(a, b, cutOff)
				}
			}
		}
	}
}

func (g *ground) heal() { g.everyLink(fault{}) }

// others are the nodes without the given ones.
func others(nodes []*process, but ...*process) []*process {
	return slices.DeleteFunc(slices.Clone(nodes), func(p *process) bool { return slices.Contains(but, p) })
}

// A nodeStatus is what `hordenode status` tells.
type nodeStatus struct {
	Role, Leader string
	Term         uint64
	Applied      uint64 `json:"applied_index"`
	StateHash    string `json:"state_hash"`
	StalenessMS  int64  `json:"staleness_ms"`
	Offers       int
	Requests     int
	Outbox, Kept int
	Peers        []struct {
		Name      string
		Connected bool
	}
}

func (p *process) status() (s nodeStatus, err error) {
	out, err := exec.Command(binary, "status", "--json", "--data", p.data).Output()
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(out, &s)
}

// term is the raft term that a node is in.
func (p *process) term(t *testing.T) uint64 {
	t.Helper()
	s, err := p.status()
	if err != nil {
		t.Fatal(err)
	}
	return s.Term
}

// connected waits until all the nodes are connected to each other and a leader is known.
func connected(t *testing.T, most time.Duration, nodes []*process) {
	t.Helper()
	for _, n := range nodes {
		n.eventually(most, "connections to all", func() error {
			s, err := n.status()
			if err != nil {
				return err
			}
			for _, p := range s.Peers {
				if !p.Connected {
					return fmt.Errorf("not connected to %s", p.Name)
				}
			}
			if s.Leader == "" || len(s.Peers) < len(nodes)-1 {
				return fmt.Errorf("leader %q, %d peers", s.Leader, len(s.Peers))
			}
			return nil
		})
	}
}

// leaderAmong waits until the given nodes agree on a leader that is one of them.
func leaderAmong(t *testing.T, nodes []*process) *process {
	t.Helper()
	var leader *process
	nodes[0].eventually(90*time.Second, "a leader", func() error {
		for _, n := range nodes {
			s, err := n.status()
			if err != nil {
				return err
			}
			i := slices.IndexFunc(nodes, func(p *process) bool { return p.name == s.Leader })
			if i < 0 || leader != nil && leader != nodes[i] {
				leader = nil
				return fmt.Errorf("%s follows %q", n.name, s.Leader)
			}
			leader = nodes[i]
		}
		return nil
	})
	return leader
}
