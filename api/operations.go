package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// Blocks are the addresses that are kept out, as the whole federation knows them. Reads are of
// local state; writes are in force at every connected node when they return, and a refusal is
// a *horde.Error. Networks are canonical: horde.BlockedNetwork. *ledger.Client implements it
// but for the type of an argument, which node converts.
type Blocks interface {
	// IPBlocked tells until when an address is kept out.
	IPBlocked(ip netip.Addr) (until time.Time, blocked bool)
	// IPBlocks returns the networks that are kept out; single addresses are not listed.
	IPBlocks() ([]horde.IPBlock, error)
	// IPBlocksOf returns what keeps an address out: networks, the wider first, then itself.
	IPBlocksOf(ip netip.Addr) []horde.IPBlock
	// BlockIP keeps a network out for a while.
	BlockIP(ctx context.Context, n NewIPBlock) error
	// UnblockIP lets a network in again; one that is not blocked is fine.
	UnblockIP(ctx context.Context, actor horde.UserID, network netip.Prefix) error
	// UnblockWorker lets in again what was blocked as a worker's address, and the network,
	// which may be the zero Prefix.
	UnblockWorker(ctx context.Context, actor horde.UserID, worker horde.WorkerID, network netip.Prefix) error
	// ReportIP tells that a corrupt prompt came from an address, which is then kept out for
	// longer each time.
	ReportIP(ctx context.Context, ip netip.Addr) error
}

// A NewIPBlock is a network, or an address, that is to be kept out.
type NewIPBlock struct {
	Actor   horde.UserID
	Network netip.Prefix
	For     time.Duration
	Worker  horde.WorkerID // whose address it is; zero: nobody's in particular
	Reason  string
}

const (
	maxAddress     = 40  // characters of an address or network
	maxBlockReason = 500 // characters
)

// operationsRoutes are the endpoints of blocked addresses, for moderators (spec/moderation.md
// sections 9.4 and 9.5).
func (s *Server) operationsRoutes() []route {
	address := must("ipaddr", text(7, maxAddress))
	why := may("reason", text(0, maxBlockReason))
	return []route{
		{method: "GET", path: "/api/v2/operations/ipaddr", handle: s.listBlocks},
		{method: "POST", path: "/api/v2/operations/ipaddr", handle: s.block, schema: object(address, must("hours", whole(1, 720)), why)},
		{method: "DELETE", path: "/api/v2/operations/ipaddr", handle: s.unblock, schema: object(address)},
		{method: "GET", path: "/api/v2/operations/ipaddr/{ipaddr}", handle: s.showBlocks},
		{method: "PUT", path: "/api/v2/operations/block_worker_ipaddr/{worker_id}", handle: s.blockWorker, schema: object(must("days", whole(1, 30)), why)},
		{method: "DELETE", path: "/api/v2/operations/block_worker_ipaddr/{worker_id}", handle: s.unblockWorker},
	}
}

// blocker is the moderator who asks, and where blocks are kept.
func (s *Server) blocker(r *http.Request) (horde.UserID, Blocks, error) {
	u, err := s.moderator(r)
	if err == nil && s.deps.Blocks == nil {
		err = horde.Refuse(horde.RCUnavailable, "This node cannot block addresses.")
	}
	return u.ID, s.deps.Blocks, err
}

// ipTimeout is a block as the API shows it.
type ipTimeout struct {
	Address string `json:"ipaddr"`
	Seconds int64  `json:"seconds"` // left
}

func ipTimeouts(list []horde.IPBlock) []ipTimeout {
	out := make([]ipTimeout, 0, len(list))
	for _, b := range list {
		out = append(out, ipTimeout{shownNetwork(b.Network), int64(math.Ceil(b.Left.Seconds()))})
	}
	return out
}

// shownNetwork is a network as moderators write it: an address without a length.
func shownNetwork(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// parseNetwork reads an address or a network in CIDR notation, whose host bits must be zero.
func parseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := parseAddress(text)
		return horde.BlockedNetwork(netip.PrefixFrom(a, a.BitLen())), err
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() {
		return netip.Prefix{}, horde.Refuse(horde.RCBadRequest, "ipaddr is no network: give it as 192.0.2.0/24 or 2001:db8::/32, with nothing set behind its length.")
	}
	n := horde.BlockedNetwork(p)
	if least := horde.WidestBlock(n.Addr().Is6()); n.Bits() < least {
		return netip.Prefix{}, horde.Refuse(horde.RCBadRequest, "ipaddr is too wide: a network of /%d is the widest that can be blocked.", least)
	}
	return n, nil
}

func parseAddress(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, horde.Refuse(horde.RCBadRequest, "ipaddr is no IP address.")
	}
	return a, nil
}

type keyOnly struct{}

func (*keyOnly) read(a *args) { a.apikey() }

// listBlocks serves GET /api/v2/operations/ipaddr: networks only, as the ledger knows single
// addresses by their hashes.
func (s *Server) listBlocks(w http.ResponseWriter, r *http.Request) error {
	var q keyOnly
	if err := decode(r, &q); err != nil {
		return err
	}
	_, blocks, err := s.blocker(r)
	if err != nil {
		return err
	}
	list, err := blocks.IPBlocks()
	if err != nil {
		return fmt.Errorf("list blocked networks: %w", err)
	}
	return encode(w, http.StatusOK, ipTimeouts(list))
}

// showBlocks serves GET /api/v2/operations/ipaddr/{ipaddr}.
func (s *Server) showBlocks(w http.ResponseWriter, r *http.Request) error {
	var q keyOnly
	if err := decode(r, &q); err != nil {
		return err
	}
	ip, err := parseAddress(r.PathValue("ipaddr"))
	if err != nil {
		return err
	}
	_, blocks, err := s.blocker(r)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, ipTimeouts(blocks.IPBlocksOf(ip.Unmap())))
}

// blockRequest is the body of POST and DELETE /operations/ipaddr.
type blockRequest struct {
	address, reason string
	hours           int64
}

func (q *blockRequest) read(a *args) {
	a.apikey()
	q.address = a.need("ipaddr").str("ipaddr", maxAddress)
	q.hours = a.integer("hours", 0)
	q.reason = sanitize(a.str("reason", maxBlockReason))
}

// block serves POST /api/v2/operations/ipaddr.
func (s *Server) block(w http.ResponseWriter, r *http.Request) error {
	var q blockRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	network, err := parseNetwork(q.address)
	if err != nil {
		return err
	}
	actor, blocks, err := s.blocker(r)
	if err != nil {
		return err
	}
	if err := blocks.BlockIP(r.Context(), NewIPBlock{Actor: actor, Network: network, For: time.Duration(q.hours) * time.Hour, Reason: q.reason}); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}

// unblock serves DELETE /api/v2/operations/ipaddr.
func (s *Server) unblock(w http.ResponseWriter, r *http.Request) error {
	var q blockRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	network, err := parseNetwork(q.address)
	if err != nil {
		return err
	}
	actor, blocks, err := s.blocker(r)
	if err != nil {
		return err
	}
	s.suspects.forget(network.Addr())
	if err := blocks.UnblockIP(r.Context(), actor, network); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}

type blockWorkerRequest struct {
	days   int64
	reason string
}

func (q *blockWorkerRequest) read(a *args) {
	a.apikey()
	q.days = a.integer("days", 1)
	q.reason = sanitize(a.str("reason", maxBlockReason))
}

// workerByPath is the worker that a moderator's path names, with the network that it polls
// from: the zero Prefix if no node knows.
func (s *Server) workerByPath(r *http.Request) (horde.WorkerID, netip.Prefix, error) {
	none := horde.Refuse(horde.RCWorkerNotFound, "There is no such worker.")
	u, err := horde.ParseUUID(r.PathValue("worker_id"))
	if err != nil {
		return horde.WorkerID{}, netip.Prefix{}, none
	}
	id := horde.WorkerID{UUID: u}
	if _, err := seek(r.Context(), s, error(none), func() (horde.Worker, bool) { return s.deps.Accounts.Worker(id) }); err != nil {
		return id, netip.Prefix{}, err
	}
	text := s.deps.Addresses.Of(id)
	if text == "" && s.deps.AddressElsewhere != nil {
		text = s.deps.AddressElsewhere(r.Context(), id)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return id, netip.Prefix{}, nil
	}
	return id, horde.BlockedNetwork(netip.PrefixFrom(ip, ip.BitLen())), nil
}

// blockWorker serves PUT /api/v2/operations/block_worker_ipaddr/{worker_id}: the address that
// a worker polls from is kept out, of IPv6 its /64.
func (s *Server) blockWorker(w http.ResponseWriter, r *http.Request) error {
	var q blockWorkerRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	actor, blocks, err := s.blocker(r)
	if err != nil {
		return err
	}
	id, network, err := s.workerByPath(r)
	switch {
	case err != nil:
		return err
	case !network.IsValid():
		return horde.Refuse(horde.RCBadRequest, "No node knows the address of this worker: it has not polled since they started.")
	}
	if err := blocks.BlockIP(r.Context(), NewIPBlock{
		Actor: actor, Network: network, For: time.Duration(q.days) * 24 * time.Hour, Worker: id, Reason: q.reason,
	}); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}

// unblockWorker serves DELETE /api/v2/operations/block_worker_ipaddr/{worker_id}: whatever was
// blocked as its address is let in, also if it polls from another by now.
func (s *Server) unblockWorker(w http.ResponseWriter, r *http.Request) error {
	var q keyOnly
	if err := decode(r, &q); err != nil {
		return err
	}
	actor, blocks, err := s.blocker(r)
	if err != nil {
		return err
	}
	id, network, err := s.workerByPath(r)
	if err != nil {
		return err
	}
	if err := blocks.UnblockWorker(r.Context(), actor, id, network); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}
