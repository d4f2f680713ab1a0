package load

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Crowd is what many clients cost that wait at one node (P13).
type Crowd struct {
	Waiters  int     `json:"waiters"`
	Answered int     `json:"answered"` // got the standard answer when their requests were cancelled
	Bytes    float64 `json:"bytes_per_waiter"`
	CPU      float64 `json:"cores"`          // that the node used while they waited
	AnswerIn float64 `json:"answered_in_ms"` // from the first cancellation to the last answer
	First    string  `json:"error,omitempty"`
}

const (
	crowdRequests = 400 // that the crowd waits for
	perAddress    = 400 // waiters with one source address; a node lets 500 wait
	dialers       = 64
)

// Usage is what a node's process uses: resident bytes and processor time so far.
type Usage func() (rss int64, cpu time.Duration, err error)

// Crowd lets n clients wait at the first address for quiet, then cancels what they wait for.
// Each has a connection of its own; they come from many loopback addresses, as a node bounds
// the waiters of each.
func (t *Target) Crowd(ctx context.Context, n int, quiet time.Duration, use Usage) (Crowd, error) {
	c := Crowd{Waiters: n}
	ids, err := t.fill(ctx, crowdRequests, Body(1, true))
	if err != nil {
		return c, err
	}
	defer t.cancel(ctx, ids)
	host := strings.TrimPrefix(t.clients[0].Base, "http://")
	before, _, err := use()
	if err != nil {
		return c, err
	}
	conns, err := dialCrowd(ctx, host, ids, n)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close() // the node has closed it, or will see that we left
			}
		}
	}()
	if err != nil {
		return c, err
	}
	pause(ctx, 2*time.Second) // until the node has parked them all
	rss, cpu, err := use()
	if err != nil {
		return c, err
	}
	pause(ctx, quiet)
	_, later, err := use()
	if err != nil {
		return c, err
	}
	c.Bytes = float64(rss-before) / float64(n)
	c.CPU = (later - cpu).Seconds() / quiet.Seconds()

	answered := make(chan int, 1)
	began := time.Now()
	go func() { answered <- countAnswers(conns) }()
	t.cancel(ctx, ids)
	c.Answered = <-answered
	c.AnswerIn = millis(time.Since(began))
	if err := context.Cause(ctx); err != nil {
		return c, err
	}
	if c.Answered < n {
		return c, fmt.Errorf("%d of %d waiters got no answer", n-c.Answered, n)
	}
	return c, nil
}

// dialCrowd opens n connections that wait, from addresses in 127.1.0.0/16.
func dialCrowd(ctx context.Context, host string, ids []string, n int) ([]net.Conn, error) {
	conns := make([]net.Conn, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, dialers)
	for w := range dialers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return
				}
				from := i / perAddress
				d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(from>>8), byte(from+1))}}
				conn, err := d.DialContext(ctx, "tcp", host)
				if err != nil {
					errs[w] = fmt.Errorf("waiter %d: %w", i, err)
					return
				}
				conns[i] = conn
				_, err = fmt.Fprintf(conn, "GET /api/v2/generate/text/status/%s?wait=60 HTTP/1.1\r\nHost: %s\r\nUser-Agent: hordenode bench\r\nConnection: close\r\n\r\n", ids[i%len(ids)], host)
				if err != nil {
					errs[w] = fmt.Errorf("waiter %d: %w", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return conns, err // the others are like it
		}
	}
	return conns, ctx.Err()
}

// countAnswers reads an answer from each connection and counts those that are as usual.
func countAnswers(conns []net.Conn) int {
	var ok, next atomic.Int64
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(conns) {
					return
				}
				if err := conns[i].SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
					continue
				}
				res, err := http.ReadResponse(bufio.NewReaderSize(conns[i], 1024), nil)
				if err != nil {
					continue
				}
				if res.StatusCode == http.StatusOK {
					ok.Add(1)
				}
				_ = res.Body.Close() // of a connection that is closed next
			}
		})
	}
	wg.Wait()
	return int(ok.Load())
}
