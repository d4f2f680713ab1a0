//go:build faults

package acceptance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A door is a TCP proxy in front of a node: it is how clients in the test's own network reach
// a node in another one, and it can lose the node's replies.
//
//	client ──► 127.0.0.1:port here ──► door ──► 127.0.0.1:port in the node's network namespace
type door struct {
	l    net.Listener
	dial func() (net.Conn, error)
	// mute has the door cut a connection when the node's reply comes: the node has done what
	// it was asked, and the client does not know.
	mute atomic.Bool
	cut  atomic.Int64 // replies that were lost

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// openDoor listens on an address until the test ends.
func openDoor(t *testing.T, address string, dial func() (net.Conn, error)) *door {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{l: l, dial: dial, conns: map[net.Conn]bool{}}
	d.wg.Go(d.accept)
	t.Cleanup(func() {
		_ = l.Close() // it ends accept; nothing is lost
		d.mu.Lock()
		for c := range d.conns {
			_ = c.Close()
		}
		d.mu.Unlock()
		d.wg.Wait()
	})
	return d
}

func (d *door) accept() {
	for {
		c, err := d.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			d.wg.Go(func() { d.serve(c.(*net.TCPConn)) })
		}
	}
}

func (d *door) serve(client *net.TCPConn) {
	defer d.open(client)()
	c, err := d.dial()
	if err != nil {
		_ = client.SetLinger(0) // the node is down: the client gets a reset
		return
	}
	node := c.(*net.TCPConn)
	defer d.open(node)()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = io.Copy(node, client) // either side may end at any time
		_ = node.CloseWrite()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := node.Read(buf)
		if n > 0 {
			if d.mute.Load() {
				d.cut.Add(1)
				_ = client.SetLinger(0)
				break
			}
			if _, err := client.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = client.Close()
	_ = node.Close()
	<-asked
}

// open remembers a connection, so that it can be closed when the test ends.
func (d *door) open(c net.Conn) (done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns[c] = true
	return func() {
		_ = c.Close() // closed twice, perhaps
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.conns, c)
	}
}

// dialIn connects to an address as seen from inside a network namespace. A socket stays in
// the namespace it was made in, whoever uses it.
func dialIn(namespace, address string) (net.Conn, error) {
	there, err := os.Open("/run/netns/" + namespace)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	runtime.LockOSThread() // unlocked only if the thread is back: else it ends with its goroutine
	here, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer here.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back == nil {
		runtime.UnlockOSThread()
	}
	return c, err
}
