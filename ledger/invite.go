package ledger

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"hordenode/internal/horde"
)

// How a node becomes a member:
//
//	inviter: SignInvite ---- token, by hand ----> joiner: ParseInvite
//	joiner:  SignJoin ------ to a URL of the token -> inviter: ParseJoin, Client.AdmitMember
//	inviter: SignJoinAnswer ---------------------> joiner: ParseJoinAnswer
//
// Each step is signed, names the federation and carries the token's nonce; AdmitMember
// checks all of it again inside Apply and uses the nonce up.

// A Nonce makes an invite good for one join.
type Nonce [16]byte

// An Invite lets one node join.
type Invite struct {
	Cluster ClusterID
	Epoch   uint64
	Inviter horde.NodeID
	Key     ed25519.PublicKey // of the inviter; the token is signed by it, and so is the answer
	Voter   bool              // the joiner may become a voter
	Expires time.Time         // to the second
	Nonce   Nonce
	URLs    []string // where the inviter can be asked to admit the joiner
}

type wireInvite struct {
	Cluster ClusterID    `cbor:"1,keyasint"`
	Epoch   uint64       `cbor:"2,keyasint"`
	Inviter horde.NodeID `cbor:"3,keyasint"`
	Key     []byte       `cbor:"4,keyasint"`
	Voter   bool         `cbor:"5,keyasint,omitempty"`
	Expires int64        `cbor:"6,keyasint"` // Unix seconds
	Nonce   Nonce        `cbor:"7,keyasint"`
	URLs    []string     `cbor:"8,keyasint,omitempty"`
}

// Why a token, a join request or an answer is not good.
var (
	ErrInviteMalformed = errors.New("not an invite token: was it copied completely?")
	ErrInviteForged    = errors.New("the invite was not signed by its inviter")
	ErrInviteExpired   = errors.New("the invite has expired: ask for a new one")
	ErrJoinMalformed   = errors.New("not a join message")
	ErrJoinForged      = errors.New("the join message was not signed by its sender for this invite")
)

const (
	maxToken   = 4096 // bytes of a token
	maxAddrs   = 32
	maxAddr    = 512 // bytes of an address or URL
	maxNode    = 128 // bytes of a node id or name
	maxMembers = 10_000
)

// SignInvite returns the invite as a token: URL-safe text. sign signs with inv.Key.
func SignInvite(inv Invite, sign func([]byte) []byte) (string, error) {
	b, err := seal(domainInvite, inv.Cluster, encode(wireInvite{
		Cluster: inv.Cluster, Epoch: inv.Epoch, Inviter: inv.Inviter, Key: inv.Key, Voter: inv.Voter,
		Expires: inv.Expires.Unix(), Nonce: inv.Nonce, URLs: inv.URLs,
	}), sign)
	if err != nil {
		return "", fmt.Errorf("sign invite: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// ParseInvite reads a token. Its error wraps ErrInviteMalformed, ErrInviteForged or
// ErrInviteExpired. That the inviter is a member of the federation only the federation
// can tell.
func ParseInvite(token string, now time.Time) (Invite, error) {
	if len(token) > maxToken {
		return Invite{}, fmt.Errorf("%w: %d characters", ErrInviteMalformed, len(token))
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return Invite{}, fmt.Errorf("%w: %w", ErrInviteMalformed, err)
	}
	var s sealed
	if err := decode(b, &s); err != nil {
		return Invite{}, fmt.Errorf("%w: %w", ErrInviteMalformed, err)
	}
	var w wireInvite
	if err := decode(s.Body, &w); err != nil {
		return Invite{}, fmt.Errorf("%w: %w", ErrInviteMalformed, err)
	}
	inv := Invite{
		Cluster: w.Cluster, Epoch: w.Epoch, Inviter: w.Inviter, Key: w.Key, Voter: w.Voter,
		Expires: time.Unix(w.Expires, 0).UTC(), Nonce: w.Nonce, URLs: w.URLs,
	}
	if !s.signedBy(inv.Key, domainInvite, inv.Cluster) {
		return Invite{}, ErrInviteForged
	}
	if !now.Before(inv.Expires) {
		return Invite{}, fmt.Errorf("%w (%s)", ErrInviteExpired, inv.Expires.Format(time.RFC3339))
	}
	return inv, nil
}

// A JoinRequest asks an inviter to admit a node.
type JoinRequest struct {
	Token     string            `cbor:"1,keyasint"`
	ID        horde.NodeID      `cbor:"2,keyasint"`
	PublicKey ed25519.PublicKey `cbor:"3,keyasint"`
	Addrs     []string          `cbor:"4,keyasint,omitempty"`
	Name      string            `cbor:"5,keyasint,omitempty"`
	URL       string            `cbor:"6,keyasint,omitempty"` // of its API
	Version   Version           `cbor:"7,keyasint,omitempty"` // that its program supports; 0 = 1
}

// SignJoin encodes r. sign signs with r.PublicKey's private key. A Version of 0 becomes this
// program's.
func SignJoin(r JoinRequest, sign func([]byte) []byte) ([]byte, error) {
	if r.Version == 0 {
		r.Version = NewestVersion
	}
	inv, err := ParseInvite(r.Token, time.Time{})
	if err != nil {
		return nil, err
	}
	b, err := seal(domainJoin, inv.Cluster, encode(r), sign)
	if err != nil {
		return nil, fmt.Errorf("sign join request: %w", err)
	}
	return b, nil
}

// ParseJoin reads a join request with the invite in it. Its error wraps one of the errors
// of ParseInvite, ErrJoinMalformed or ErrJoinForged. It does not know whether ID belongs to
// PublicKey: the caller compares it with what its p2p layer derives from the key.
func ParseJoin(b []byte, now time.Time) (JoinRequest, Invite, error) {
	var s sealed
	if err := decode(b, &s); err != nil {
		return JoinRequest{}, Invite{}, fmt.Errorf("%w: %w", ErrJoinMalformed, err)
	}
	var r JoinRequest
	if err := decode(s.Body, &r); err != nil {
		return JoinRequest{}, Invite{}, fmt.Errorf("%w: %w", ErrJoinMalformed, err)
	}
	inv, err := ParseInvite(r.Token, now)
	if err != nil {
		return JoinRequest{}, Invite{}, err
	}
	if !s.signedBy(r.PublicKey, domainJoin, inv.Cluster) {
		return JoinRequest{}, Invite{}, ErrJoinForged
	}
	if r.ID == "" || len(r.ID) > maxNode || len(r.Name) > maxNode {
		return JoinRequest{}, Invite{}, fmt.Errorf("%w: its id or name is empty or too long", ErrJoinMalformed)
	}
	if err := checkAddrs(r.Addrs, r.URL); err != nil {
		return JoinRequest{}, Invite{}, fmt.Errorf("%w: %w", ErrJoinMalformed, err)
	}
	return r, inv, nil
}

var errAddrs = errors.New("too many or too long addresses")

func checkAddrs(addrs []string, url string) error {
	if len(addrs) > maxAddrs || len(url) > maxAddr {
		return errAddrs
	}
	for _, a := range addrs {
		if len(a) > maxAddr {
			return errAddrs
		}
	}
	return nil
}

// A JoinAnswer tells a joiner whom it has joined.
type JoinAnswer struct {
	Cluster ClusterID
	Epoch   uint64
	Nonce   Nonce // of the invite that it answers
	Members []horde.Member
}

type wireAnswer struct {
	Cluster ClusterID    `cbor:"1,keyasint"`
	Epoch   uint64       `cbor:"2,keyasint"`
	Nonce   Nonce        `cbor:"3,keyasint"`
	Members []wireMember `cbor:"4,keyasint"`
}

type wireMember struct {
	ID     horde.NodeID `cbor:"1,keyasint"`
	Member member       `cbor:"2,keyasint"`
}

// SignJoinAnswer encodes a. sign signs with the inviter's key.
func SignJoinAnswer(a JoinAnswer, sign func([]byte) []byte) ([]byte, error) {
	w := wireAnswer{Cluster: a.Cluster, Epoch: a.Epoch, Nonce: a.Nonce, Members: make([]wireMember, len(a.Members))}
	for i, m := range a.Members {
		w.Members[i] = wireMember{m.ID, member{
			Name: m.Name, PublicKey: m.PublicKey, Addrs: m.Addrs, URL: m.URL, Voter: m.Voter, Active: m.Active,
			Joined: millis(m.Joined), InvitedBy: m.InvitedBy,
		}}
	}
	b, err := seal(domainAnswer, a.Cluster, encode(w), sign)
	if err != nil {
		return nil, fmt.Errorf("sign join answer: %w", err)
	}
	return b, nil
}

// ParseJoinAnswer reads the answer to a join by inv. Its error wraps ErrJoinMalformed or
// ErrJoinForged.
func ParseJoinAnswer(b []byte, inv Invite) (JoinAnswer, error) {
	var s sealed
	if err := decode(b, &s); err != nil {
		return JoinAnswer{}, fmt.Errorf("%w: %w", ErrJoinMalformed, err)
	}
	if !s.signedBy(inv.Key, domainAnswer, inv.Cluster) {
		return JoinAnswer{}, ErrJoinForged
	}
	var w wireAnswer
	if err := decode(s.Body, &w); err != nil {
		return JoinAnswer{}, fmt.Errorf("%w: %w", ErrJoinMalformed, err)
	}
	if w.Cluster != inv.Cluster || w.Nonce != inv.Nonce {
		return JoinAnswer{}, ErrJoinForged
	}
	if len(w.Members) > maxMembers {
		return JoinAnswer{}, fmt.Errorf("%w: %d members", ErrJoinMalformed, len(w.Members))
	}
	a := JoinAnswer{Cluster: w.Cluster, Epoch: w.Epoch, Nonce: w.Nonce, Members: make([]horde.Member, len(w.Members))}
	for i := range w.Members {
		a.Members[i] = w.Members[i].Member.view(w.Members[i].ID)
	}
	return a, nil
}
