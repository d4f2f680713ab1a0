// Package ipcheck asks a reputation service whether addresses belong to VPNs, proxies and the
// like, from which abuse comes more often. It is off unless an operator names a service, since
// the service learns who uses this node.
//
//	Unsafe(ip) ─► not public? ─► remembered? ─► asked already? ─► GET URL with the address, 2 s at most
//	                 safe           6 hours        same answer        a number, 0 to 1: unsafe from 0.93 on
//
// It fails open: while the service does not answer, everybody is taken for safe, failures are
// counted, and after several in a row the service is left alone for some seconds.
package ipcheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hordenode/internal/outbound"
)

// Placeholder is what stands for the address in the service's URL.
const Placeholder = "{ipaddr}"

const (
	unsafeFrom  = 0.93 // of the service's number (spec/moderation.md section 9.6)
	remember    = 6 * time.Hour
	rememberBad = time.Minute // that the service did not know
	patience    = 2 * time.Second
	maxAnswer   = 64 // bytes
	maxKnown    = 1 << 16
	maxFailures = 3 // in a row, before the service is left alone
	leaveAlone  = 10 * time.Second
)

// A Getter reads what is at an address. *outbound.Client is one.
type Getter interface {
	Get(ctx context.Context, address string, most int64) ([]byte, error)
}

// Config is a service and how to reach it.
type Config struct {
	URL string // with Placeholder; it may hold a key of the service, so it is never logged
	Get Getter
	Now func() time.Time
	Log *slog.Logger
}

// CheckURL tells what is wrong with a service's URL. The error does not repeat it.
func CheckURL(s string) error {
	u, err := url.Parse(strings.ReplaceAll(s, Placeholder, "192.0.2.1"))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("it is not http(s)://HOST/PATH")
	case !strings.Contains(s, Placeholder):
		return fmt.Errorf("it does not hold %s, which stands for the address that is asked about", Placeholder)
	}
	return nil
}

// A Checker remembers what a service said. It may be used from many goroutines.
type Checker struct {
	cfg Config

	asked, found, failed atomic.Int64

	mu       sync.Mutex // guards what follows
	known    map[netip.Prefix]verdict
	asking   map[netip.Prefix]*question
	failures int       // in a row
	alone    time.Time // the service is not asked before
}

type verdict struct {
	unsafe bool
	until  time.Time
}

// A question is under way; unsafe is set before done is closed.
type question struct {
	done   chan struct{}
	unsafe bool
}

// Open returns a Checker that knows nothing yet.
func Open(cfg Config) (*Checker, error) {
	if err := CheckURL(cfg.URL); err != nil {
		return nil, fmt.Errorf("address of the reputation service: %w", err)
	}
	return &Checker{cfg: cfg, known: map[netip.Prefix]verdict{}, asking: map[netip.Prefix]*question{}}, nil
}

// Counters are of what happened since the start.
type Counters struct {
	Asked  int64 // addresses that the service was asked about
	Unsafe int64 // that it held for unsafe
	Failed int64 // that it did not answer for, or was not asked about because of that
}

// Counters returns what happened so far.
func (c *Checker) Counters() Counters {
	return Counters{Asked: c.asked.Load(), Unsafe: c.found.Load(), Failed: c.failed.Load()}
}

// Unsafe tells whether an address is known to be unsafe. It takes two seconds at most; when
// they, or ctx, are over the address counts as safe.
func (c *Checker) Unsafe(ctx context.Context, ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if outbound.Check(ip) != nil {
		return false // no public address: nobody else can know it
	}
	who := holder(ip)
	c.mu.Lock()
	now := c.cfg.Now()
	if v, ok := c.known[who]; ok && now.Before(v.until) {
		c.mu.Unlock()
		return v.unsafe
	}
	if q := c.asking[who]; q != nil {
		c.mu.Unlock()
		select {
		case <-q.done:
			return q.unsafe
		case <-ctx.Done():
			return false
		}
	}
	if now.Before(c.alone) {
		c.mu.Unlock()
		c.failed.Add(1)
		return false
	}
	q := &question{done: make(chan struct{})}
	c.asking[who] = q
	c.mu.Unlock()
	unsafe, err := c.ask(ctx, ip)
	c.note(ctx, who, q, unsafe, err)
	return unsafe
}

// holder is what one client has: an IPv4 address, or an IPv6 /64.
func holder(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(ip, bits).Masked()
}

// ask sends the question. It is not given up with its first asker: others may wait for it.
func (c *Checker) ask(ctx context.Context, ip netip.Addr) (bool, error) {
	c.asked.Add(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	answer, err := c.cfg.Get.Get(ctx, strings.ReplaceAll(c.cfg.URL, Placeholder, url.PathEscape(ip.String())), maxAnswer)
	if err != nil {
		return false, err
	}
	p, err := strconv.ParseFloat(strings.TrimSpace(string(answer)), 64)
	if err != nil || math.IsNaN(p) || p < 0 {
		return false, errors.New("the answer is no number from 0 to 1")
	}
	return p >= unsafeFrom, nil
}

// note remembers an answer, or that there was none, and tells who waits for it.
func (c *Checker) note(ctx context.Context, who netip.Prefix, q *question, unsafe bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	keep := remember
	if err == nil {
		c.failures = 0
	} else {
		keep = rememberBad
		c.failed.Add(1)
		if c.failures++; c.failures >= maxFailures {
			c.failures, c.alone = 0, now.Add(leaveAlone)
			c.cfg.Log.WarnContext(ctx, "reputation service does not answer; addresses count as safe meanwhile", "err", err)
		}
	}
	if unsafe {
		c.found.Add(1)
	}
	if len(c.known) >= maxKnown {
		c.makeRoom(now)
	}
	c.known[who] = verdict{unsafe, now.Add(keep)}
	delete(c.asking, who)
	q.unsafe = unsafe
	close(q.done)
}

// makeRoom forgets what is too old or, if that is not enough, everything. c.mu is held.
func (c *Checker) makeRoom(now time.Time) {
	for k, v := range c.known {
		if !now.Before(v.until) {
			delete(c.known, k)
		}
	}
	if len(c.known) > maxKnown*3/4 {
		clear(c.known)
	}
}
