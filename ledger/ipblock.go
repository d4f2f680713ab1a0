package ledger

import (
	"context"
	"net/netip"
	"time"

	"hordenode/internal/horde"
)

// Addresses that are kept out (spec/moderation.md section 9). The ledger knows them as keyed
// hashes only; ipprefix.go says how an address is found among hashed networks, and
// docs/decisions/0014-address-blocks.md what that protects from.
//
//	moderator ── block ──► row {until, who, why, worker}  ◄── one row for a network or address
//	corrupt prompt ── report ──► reports+1, until = now + (2·reports+1)·3 min, forgotten after a day
const (
	reportStep   = int64(3 * time.Minute / time.Millisecond)
	reportMemory = int64(24 * time.Hour / time.Millisecond) // without a new report it is forgotten
	maxReports   = 1 << 20                                  // of one address; the timeout grows no further

	shortestBlock = int64(time.Hour / time.Millisecond)
	longestBlock  = int64(720 * time.Hour / time.Millisecond)

	maxReported = 1 << 16             // rows, from when on new addresses cannot be reported
	maxBlocked  = maxReported + 1<<14 // rows, from when on nothing can be blocked
)

// ipBlock is what is known of a network or an address.
type ipBlock struct {
	Net     hashedNet      `cbor:"1,keyasint"`
	Until   int64          `cbor:"2,keyasint,omitempty"` // kept out until then
	By      horde.UserID   `cbor:"3,keyasint,omitempty"` // the moderator who blocked it last; 0: none did
	Reason  string         `cbor:"4,keyasint,omitempty"`
	Worker  horde.WorkerID `cbor:"5,keyasint,omitzero"`  // whose address it was blocked as
	Reports int64          `cbor:"6,keyasint,omitempty"` // corrupt prompts that came from it
	Last    int64          `cbor:"7,keyasint,omitempty"` // when the last of them did
}

// goes is when nothing needs to be known any more.
func (b *ipBlock) goes() int64 {
	if b.Reports > 0 {
		return max(b.Until, b.Last+reportMemory)
	}
	return b.Until
}

// mayBlock refuses actors who are not moderators.
func (tx *tx) mayBlock(id horde.UserID) error {
	switch actor := tx.user(id); {
	case actor == nil:
		return actorGone()
	case !actor.is(horde.RoleModerator):
		return horde.Refuse(horde.RCNotModerator, "Only a moderator may block addresses.")
	}
	return nil
}

// writeBlock stores a row and reminds of its end.
func (tx *tx) writeBlock(b ipBlock) {
	tx.blocks.put(b.Net.Hash, b)
	tx.blockEnds.push(b.goes(), b.Net.Hash)
	tx.lengths.add(b.Net)
}

// blockIP keeps a network or an address out.
type blockIP struct {
	Actor  horde.UserID   `cbor:"1,keyasint,omitempty"`
	Net    hashedNet      `cbor:"2,keyasint"`
	For    int64          `cbor:"3,keyasint"` // milliseconds
	Worker horde.WorkerID `cbor:"4,keyasint,omitzero"`
	Reason string         `cbor:"5,keyasint,omitempty"`
}

func (c *blockIP) apply(tx *tx) ([]byte, error) {
	if err := tx.mayBlock(c.Actor); err != nil {
		return nil, err
	}
	known := tx.blocks.get(c.Net.Hash)
	switch {
	case !c.Net.whole(tx.meta.get(unit{}).Salt):
		return nil, horde.Refuse(horde.RCBadRequest, "This is no network.")
	case c.For < shortestBlock || c.For > longestBlock:
		return nil, horde.Refuse(horde.RCBadRequest, "An address is blocked for 1 to 720 hours.")
	case len(c.Reason) > maxReason:
		return nil, horde.Refuse(horde.RCBadRequest, "The reason is too long.")
	case !c.Worker.IsZero() && tx.worker(c.Worker) == nil:
		return nil, workerNotFound()
	case known == nil && tx.blocks.live >= maxBlocked:
		return nil, horde.Refuse(horde.RCBadRequest, "There can be %d blocked addresses.", maxBlocked)
	}
	b := ipBlock{Net: c.Net}
	if known != nil {
		b = *known
	}
	b.Until, b.By, b.Worker, b.Reason = tx.now+c.For, c.Actor, c.Worker, c.Reason
	tx.writeBlock(b)
	return nil, nil
}

// unblockIP lets a network or an address in again and forgets what was reported of it. What
// is not there is fine.
type unblockIP struct {
	Actor  horde.UserID   `cbor:"1,keyasint,omitempty"`
	Hash   digest         `cbor:"2,keyasint,omitzero"`
	Worker horde.WorkerID `cbor:"3,keyasint,omitzero"` // also what was blocked as this worker's address
}

func (c *unblockIP) apply(tx *tx) ([]byte, error) {
	if err := tx.mayBlock(c.Actor); err != nil {
		return nil, err
	}
	tx.blocks.remove(c.Hash)
	if c.Worker.IsZero() {
		return nil, nil
	}
	var of []digest
	tx.blocks.all(func(h digest, b *ipBlock) bool {
		if b.Worker == c.Worker {
			of = append(of, h)
		}
		return true
	})
	for _, h := range of {
		tx.blocks.remove(h)
	}
	return nil, nil
}

// reportIP tells that a corrupt prompt came from an address, which is kept out for longer each
// time: 3 minutes, 9, 15, …
type reportIP struct {
	Net hashedNet `cbor:"1,keyasint"`
}

func (c *reportIP) apply(tx *tx) ([]byte, error) {
	known := tx.blocks.get(c.Net.Hash)
	switch {
	case !c.Net.whole(tx.meta.get(unit{}).Salt) || !c.Net.isAddress():
		return nil, horde.Refuse(horde.RCBadRequest, "This is no address.")
	case known == nil && tx.blocks.live >= maxReported:
		return nil, horde.Refuse(horde.RCUnavailable, "Too many addresses are reported.")
	}
	b := ipBlock{Net: c.Net}
	if known != nil {
		b = *known
	}
	if tx.now-b.Last > reportMemory {
		b.Reports = 0
	}
	b.Until = max(b.Until, tx.now+(2*b.Reports+1)*reportStep) // a moderator's block is not cut short
	b.Reports = min(b.Reports+1, maxReports)
	b.Last = tx.now
	tx.writeBlock(b)
	return nil, nil
}

// expireBlocks removes what nobody needs to know any more.
func (tx *tx) expireBlocks() {
	for h, ok := tx.blockEnds.due(tx.now); ok; h, ok = tx.blockEnds.due(tx.now) {
		if b := tx.blocks.get(h); b != nil && b.goes() <= tx.now {
			tx.blocks.remove(h)
		}
	}
}

// A NewIPBlock is a network, or an address, that is to be kept out.
type NewIPBlock struct {
	Actor   horde.UserID
	Network netip.Prefix // canonical, see horde.BlockedNetwork
	For     time.Duration
	Worker  horde.WorkerID // whose address it is; zero: nobody's in particular
	Reason  string
}

// BlockIP keeps a network out for a while. It is in force at every connected node when
// BlockIP returns. Only hashes leave this node.
func (c *Client) BlockIP(ctx context.Context, n NewIPBlock) error {
	net := c.hashNetwork(n.Network)
	_, err := c.everywhere(ctx, encodeCommand(kindBlockIP, blockIP{n.Actor, net, n.For.Milliseconds(), n.Worker, n.Reason}))
	return err
}

// UnblockIP lets a network in again; one that is not blocked is fine.
func (c *Client) UnblockIP(ctx context.Context, actor horde.UserID, network netip.Prefix) error {
	_, err := c.everywhere(ctx, encodeCommand(kindUnblockIP, unblockIP{Actor: actor, Hash: c.hashNetwork(network).Hash}))
	return err
}

// UnblockWorker lets in again what was blocked as a worker's address, and the network, which
// may be the zero Prefix.
func (c *Client) UnblockWorker(ctx context.Context, actor horde.UserID, worker horde.WorkerID, network netip.Prefix) error {
	cmd := unblockIP{Actor: actor, Worker: worker}
	if network.IsValid() {
		cmd.Hash = c.hashNetwork(network).Hash
	}
	_, err := c.everywhere(ctx, encodeCommand(kindUnblockIP, cmd))
	return err
}

// ReportIP tells that a corrupt prompt came from an address.
func (c *Client) ReportIP(ctx context.Context, ip netip.Addr) error {
	net := c.hashNetwork(horde.BlockedNetwork(netip.PrefixFrom(ip, ip.BitLen())))
	_, err := c.everywhere(ctx, encodeCommand(kindReportIP, reportIP{net}))
	return err
}
