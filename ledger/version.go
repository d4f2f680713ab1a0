package ledger

import (
	"errors"
	"fmt"
	"slices"

	"hordenode/internal/horde"
)

// A Version counts what the commands and rows of a ledger may be. Each federation is at one;
// it goes up, never down, when every member runs a program that knows the next
// (docs/decisions/0013-versions.md).
//
//	founded ─► the founder's newest
//	a program that knows more starts ─► it tells the others (node: greeting)
//	the leader has heard it of all active members ─► raiseVersion ─► newer commands are allowed
type Version uint16

const (
	// firstVersion is that of everything before versions were counted.
	firstVersion Version = 1
	// NewestVersion is the one that this program knows.
	NewestVersion Version = 2

	// firstOfTwo is the lowest kind that came with version 2: a table of such bounds is all
	// that a new version needs.
	firstOfTwo kind = 120
)

// ErrVersion means that the federation is at a version that this program does not know. It
// must stop: what it would skip, others apply.
var ErrVersion = errors.New("the federation's ledger is newer than this program: install a newer hordenode")

// errUpgrading refuses a command that the federation is too old for, before it is proposed
// and, should it get into the log, when it is applied.
func errUpgrading(need, at Version) *horde.Error {
	return &horde.Error{RC: horde.RCUnavailable, Msg: fmt.Sprintf(
		"An upgrade is in progress: this needs version %d of the federation's ledger, which is at %d until all of its nodes are upgraded. Please try again later.", need, at)}
}

// version is the one that a kind came with. raiseVersion has none: it is how a federation gets
// to a version at all, and is proposed only when every member knows it.
func (k kind) version() Version {
	switch {
	case k == kindRaiseVersion, k < firstOfTwo:
		return firstVersion
	default:
		return 2
	}
}

// knows tells whether a program of version v knows a kind.
func (v Version) knows(k kind) bool {
	return k.version() <= v && (k != kindRaiseVersion || v > firstVersion)
}

// version is what the federation is at.
func (s *state) version() Version {
	if m := s.meta.get(unit{}); m != nil {
		return max(m.Version, firstVersion)
	}
	return firstVersion
}

// SupportOnly makes m one of a program that knows no version above v: for tests of upgrades.
// It must be called before anything is applied or loaded.
func (m *Machine) SupportOnly(v Version) { m.s.supports, m.supports = v, v }

// Forgetful makes m apply every batch that it is sent, also one that it has applied before. It
// is there to show that the checkers of the simulation notice; no flag of the program leads here.
// It must be called before anything is applied or loaded.
func (m *Machine) Forgetful() { m.s.forgetful = true }

// Supports is the newest version that m can apply.
func (m *Machine) Supports() Version { return m.supports }

// Version is what the federation is at; 1 before there is one.
func (r Reader) Version() Version {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	return r.m.s.version()
}

// Allowed tells whether the federation may be sent a command: if it is of a newer version than
// the federation's, a *horde.Error with RCUnavailable says so.
func (r Reader) Allowed(cmd []byte) error {
	k, _, err := splitCommand(cmd)
	if err != nil {
		return nil // refused, or worse, when it is applied
	}
	if at, need := r.Version(), k.version(); need > at {
		return errUpgrading(need, at)
	}
	return nil
}

// Readable tells why a proposal must not be put into the log by a leader with this state: it
// has a command that this node does not know, which would stop every node like it, or one that
// the federation is too old for, which would stop the older ones.
func (r Reader) Readable(proposal []byte) error {
	if err := Readable(proposal); err != nil {
		return err
	}
	b, err := DecodeBatch(proposal)
	if err != nil {
		return nil // refused when it is applied
	}
	for i, c := range b.Commands {
		k, _, err := splitCommand(c.Data)
		if err == nil && !r.m.supports.knows(k) {
			err = fmt.Errorf("%w: unknown kind %d", errCommand, k)
		} else {
			err = r.Allowed(c.Data)
		}
		if err != nil {
			return fmt.Errorf("command %d of %s: %w", i, b.Origin, err)
		}
	}
	return nil
}

// gate stops the node at a command that it does not know and refuses one that the federation
// is too old for. What is no command is left to the decoder.
func (tx *tx) gate(data []byte) (Result, error) {
	k, _, err := splitCommand(data)
	if err != nil {
		return Result{}, nil
	}
	switch at, need := tx.version(), k.version(); {
	case !tx.supports.knows(k):
		return Result{}, fmt.Errorf("%w: unknown kind %d", errCommand, k)
	case need > at:
		refusal := errUpgrading(need, at)
		return Result{RC: refusal.RC, Msg: refusal.Msg}, nil
	}
	return Result{}, nil
}

// laterVersion is how a version is written: what was before versions were counted stays as it
// was.
func laterVersion(v Version) Version {
	if v <= firstVersion {
		return 0
	}
	return v
}

// noted is what a member's row says of its version: nothing while older nodes, which would
// not write it, apply the same command.
func (tx *tx) noted(v Version) Version {
	if tx.version() <= firstVersion {
		return 0
	}
	return v
}

// raiseVersion takes the federation to a version. Older nodes stop at it; so the leader
// proposes it when it has heard from every active member that it knows the version.
type raiseVersion struct {
	Version Version        `cbor:"1,keyasint"`
	Members []horde.NodeID `cbor:"2,keyasint,omitempty"` // known to support it
	Force   bool           `cbor:"3,keyasint,omitempty"` // an operator gives the others up
}

// EncodeRaiseVersion makes the command that takes the federation to a version that the given
// members are known to support. It is refused if another is an active member when it is
// applied, unless it is forced: such a member stops and has to be upgraded before it goes on.
func EncodeRaiseVersion(v Version, members []horde.NodeID, force bool) []byte {
	return encodeCommand(kindRaiseVersion, raiseVersion{Version: v, Members: members, Force: force})
}

// apply refuses members that may not vote: whoever can stop other nodes should be one who can
// do so anyway.
func (c *raiseVersion) apply(tx *tx) ([]byte, error) {
	if m := tx.members.get(tx.from); !m.Active || !m.Voter {
		return nil, forbidden("Only a node that may vote raises the version.")
	}
	at := tx.version()
	if c.Version <= at {
		return nil, forbidden("The federation is at that version, or a higher one, already.")
	}
	if c.Version > tx.supports {
		return nil, fmt.Errorf("%w (it goes from version %d to %d, this program knows %d)", ErrVersion, at, c.Version, tx.supports)
	}
	lacking := false
	tx.members.all(func(id horde.NodeID, m *member) bool {
		lacking = m.Active && !slices.Contains(c.Members, id)
		return !lacking
	})
	if lacking && !c.Force {
		return nil, forbidden("A member is not known to support that version.")
	}
	tx.meta.edit(unit{}).Version = c.Version
	return nil, nil
}

// reportVersion is a member's word on what its program supports, for those who look while it
// is away. It came with version 2 itself.
type reportVersion struct {
	Version Version `cbor:"1,keyasint"`
}

// EncodeReportVersion makes the command by which a member says what its program supports.
func EncodeReportVersion(v Version) []byte {
	return encodeCommand(kindReportVersion, reportVersion{Version: v})
}

func (c *reportVersion) apply(tx *tx) ([]byte, error) {
	if c.Version < firstVersion {
		return nil, horde.Refuse(horde.RCBadRequest, "Versions begin at 1.")
	}
	tx.members.edit(tx.from).Version = c.Version
	return nil, nil
}
