package sim

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
	"hordenode/node/jobs"
	"hordenode/node/jobs/standby"
)

// Takeover and return as package node does them, without its network.

const (
	protoHandover = "/horde/handover/1"
	takeOverAfter = 60 * time.Second
)

type handover struct {
	ID    horde.RequestID   `cbor:"1,keyasint"`
	Items map[string][]byte `cbor:"2,keyasint"`
}

func (p *process) superseded() bool { return p.client.Standin(p.id()).Superseded }

func (p *process) standIn(ctx context.Context) error {
	var next time.Time
	for ctx.Err() == nil {
		pause(ctx, time.Second)
		if p.superseded() {
			if err := p.surrender(ctx); err != nil {
				p.n.s.log.Info("not handed over yet", "node", p.id(), "err", err)
			}
			continue
		}
		for _, m := range p.client.Members() {
			if m.ID == p.id() {
				continue
			}
			s := p.client.Standin(m.ID)
			if s.Backup == p.id() && !s.Superseded && time.Now().After(next) && p.silent(m.ID) >= takeOverAfter {
				next = time.Now().Add(5 * time.Second)
				p.takeOver(ctx, m.ID)
			}
			if s.Superseded && s.Successor == p.id() && p.standby.Has(m.ID.Tag()) {
				if err := p.adopt(ctx, m.ID); err != nil {
					p.n.s.log.Info("not adopted yet", "node", p.id(), "home", m.ID, "err", err)
				}
			}
		}
	}
	return nil
}

// takeOver makes this node the successor of a home if the leader misses it too.
func (p *process) takeOver(ctx context.Context, home horde.NodeID) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := p.atLeader(ctx, func(l *process) ([]byte, error) {
		if l != p && l.silent(home)+2*time.Second < takeOverAfter {
			return nil, errors.New("the leader heard of it")
		}
		return nil, nil
	})
	if err == nil {
		err = p.client.TakeOver(ctx, home)
	}
	if err == nil {
		p.n.s.note(func(c *counts) { c.takeovers++ })
	}
	p.n.s.log.Info("takeover", "home", home, "by", p.id(), "err", err)
}

func (p *process) adopting() bool {
	return slices.ContainsFunc(p.client.Members(), func(m horde.Member) bool {
		s := p.client.Standin(m.ID)
		return s.Superseded && s.Successor == p.id() && p.standby.Has(m.ID.Tag())
	})
}

func (p *process) adopt(ctx context.Context, home horde.NodeID) error {
	if err := p.client.Sync(ctx); err != nil {
		return err
	}
	tag := home.Tag()
	_, _, item := p.client.Origin(home)
	return p.standby.Copies(tag, func(c standby.Copy) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		held := p.client.Held(c.ID)
		err := p.home.Adopt(ctx, c.ID, c.Items, jobs.Adopted{Held: held, Item: item})
		p.n.s.log.Debug("adopted", "home", home, "by", p.id(), "request", c.ID, "held", held, "items", len(c.Items), "end", c.Items["s"] != nil, "err", err)
		if err != nil && !errors.Is(err, jobs.ErrOver) {
			return err
		}
		return p.standby.Drop(c.ID, tag)
	})
}

// surrender hands this node's requests to its successor, and takes part again.
func (p *process) surrender(ctx context.Context) error {
	if left := p.home.Outbox().Len(); left > 0 {
		return fmt.Errorf("%d commands wait for the ledger", left)
	}
	if err := p.client.Sync(ctx); err != nil {
		return err
	}
	to := p.id()
	for range 8 {
		s := p.client.Standin(to)
		if !s.Superseded {
			break
		}
		to = s.Successor
	}
	if p.client.Standin(to).Superseded {
		return errors.New("the successor is superseded itself")
	}
	err := p.home.Surrender(ctx, func(ctx context.Context, id horde.RequestID, items map[string][]byte) error {
		data, err := cbor.Marshal(handover{ID: id, Items: items})
		if err != nil {
			return err
		}
		_, err = p.Call(ctx, to, protoHandover, data)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := p.Call(ctx, to, protoHandover, nil); err != nil {
		return err
	}
	return p.client.Resume(ctx)
}

func (p *process) takeHandover(ctx context.Context, from horde.NodeID, data []byte) error {
	if !p.standsInFor(from) {
		return errors.New("not stood in for")
	}
	if len(data) == 0 {
		if p.standby.Has(from.Tag()) {
			return errors.New("still adopting")
		}
		return nil
	}
	var h handover
	if err := cbor.Unmarshal(data, &h); err != nil {
		return err
	}
	if err := p.client.Sync(ctx); err != nil {
		return err
	}
	held := p.client.Held(h.ID)
	err := p.home.Adopt(ctx, h.ID, h.Items, jobs.Adopted{Held: held, Item: math.MaxUint64})
	p.n.s.log.Debug("handed over", "by", from, "to", p.id(), "request", h.ID, "held", held, "items", len(h.Items), "end", h.Items["s"] != nil, "err", err)
	if errors.Is(err, jobs.ErrOver) {
		return nil
	}
	return err
}

func (p *process) standsInFor(id horde.NodeID) bool {
	for range 8 {
		s := p.client.Standin(id)
		if s.Successor == "" {
			return false
		}
		if id = s.Successor; id == p.id() {
			return true
		}
	}
	return false
}

func (p *process) chooseBackup(current horde.NodeID) (best horde.NodeID, ok bool) {
	var most uint64
	var voter bool
	for _, m := range p.client.Members() {
		if _, up := p.n.s.net.connected(p.id(), m.ID); !up || !m.Active || p.client.Standin(m.ID).Superseded {
			continue
		}
		if m.ID == current {
			return current, true
		}
		sum := sha256.Sum256([]byte("backup\x00" + string(p.id()) + "\x00" + string(m.ID)))
		weight := binary.BigEndian.Uint64(sum[:])
		if best == "" || m.Voter && !voter || m.Voter == voter && weight > most {
			best, most, voter = m.ID, weight, m.Voter
		}
	}
	return best, best != ""
}

func (p *process) registerBackup(ctx context.Context, to horde.NodeID) error {
	if p.client.Standin(p.id()).Backup == to {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return p.client.SetBackup(ctx, to)
}
