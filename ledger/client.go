package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"hordenode/internal/horde"
)

// A Log gets commands applied. node makes it: it signs batches, gets them committed and
// repeats what has an unknown outcome.
type Log interface {
	// Do applies the commands once, in order, and returns a result for each. This node's
	// state includes them when it returns.
	Do(ctx context.Context, cmds ...[]byte) ([]Result, error)
	// DoEverywhere is Do, and every node that is connected has applied them too, unless
	// that takes too long.
	DoEverywhere(ctx context.Context, cmds ...[]byte) ([]Result, error)
	// Sync makes this node's state as new as the federation's was when it was called.
	Sync(ctx context.Context) error
}

// A Client reads and writes the ledger for the other parts of a node. Reads are local.
// Writes return what was decided when the command was applied; a refusal is a
// *horde.Error, anything else means that the outcome is not known here.
type Client struct {
	Reader
	log Log

	mu  sync.Mutex // guards rnd
	rnd io.Reader
}

// NewClient returns a client that reads from m and writes through log. rnd makes keys and
// worker ids: crypto/rand.Reader, but for tests.
func NewClient(m *Machine, log Log, rnd io.Reader) *Client {
	return &Client{Reader: m.Reader(), log: log, rnd: rnd}
}

// Sync makes local reads as new as the federation's state at the moment of the call.
func (c *Client) Sync(ctx context.Context) error { return c.log.Sync(ctx) }

// Found founds a federation of the one node founder, whose ID, Name, PublicKey, Addrs and
// URL count, and returns the admin's API key.
func (c *Client) Found(ctx context.Context, founder horde.Member, cfg Config) (horde.APIKey, error) {
	c.mu.Lock()
	cmd, key, err := newGenesis(founder, cfg, c.rnd)
	c.mu.Unlock()
	if err != nil {
		return "", err
	}
	_, err = c.do(ctx, cmd)
	return key, err
}

// Configure replaces the federation's Config; actor is an admin.
func (c *Client) Configure(ctx context.Context, actor horde.UserID, cfg Config) error {
	if at := c.Version(); cfg.pins() && at < pinVersion { // they would be left out
		return errUpgrading(pinVersion, at)
	}
	_, err := c.everywhere(ctx, encodeCommand(kindConfigure, configure{actor, cfg}))
	return err
}

// A NewUser is an account to open.
type NewUser struct {
	Name  string
	OAuth string // such as "g_1234"; empty: pseudonymous, unless Class says otherwise

	// For a node's operator only.
	Class horde.Class // zero: by OAuth
	Roles horde.Roles
	Kudos horde.Kudos
}

// CreateUser opens an account and returns it with its API key, which is known to nobody
// else and never shown again.
func (c *Client) CreateUser(ctx context.Context, n NewUser) (horde.User, horde.APIKey, error) {
	key, hash, err := c.newKey()
	if err != nil {
		return horde.User{}, "", err
	}
	cmd := createUser{Name: n.Name, Class: n.Class, Key: hash, Roles: n.Roles, Kudos: n.Kudos}
	if n.OAuth != "" {
		cmd.Login = c.hash(n.OAuth)
	}
	switch {
	case n.Class != horde.ClassAnonymous:
	case n.OAuth != "":
		cmd.Class = horde.ClassRegistered
	default:
		cmd.Class = horde.ClassPseudonymous
	}
	data, err := c.everywhere(ctx, encodeCommand(kindCreateUser, cmd))
	if err != nil {
		return horde.User{}, "", err
	}
	u, err := decodeUser(data)
	return u, key, err
}

// RotateKey gives a user a new API key; the old one is invalid from then on.
func (c *Client) RotateKey(ctx context.Context, id horde.UserID) (horde.APIKey, error) {
	key, hash, err := c.newKey()
	if err != nil {
		return "", err
	}
	if _, err := c.everywhere(ctx, encodeCommand(kindRotateKey, rotateKey{id, hash})); err != nil {
		return "", err
	}
	return key, nil
}

// A TestUser is an account for tests, to be made or reset.
type TestUser struct {
	Name      string
	OAuth     string // which account
	Moderator bool   // implies trusted
	Trusted   bool
	Kudos     horde.Kudos // the balance afterwards, but never below the floor
	Class     horde.Class // of a new account: ClassPseudonymous, or else registered
}

// TestUser makes or resets an account for tests and gives it a new API key. The first one
// of a fresh federation takes over the founder's account.
func (c *Client) TestUser(ctx context.Context, t TestUser) (u horde.User, key horde.APIKey, created bool, err error) {
	key, hash, err := c.newKey()
	if err != nil {
		return horde.User{}, "", false, err
	}
	data, err := c.everywhere(ctx, encodeCommand(kindTestUser, testUser{
		Name: t.Name, Login: c.hash(t.OAuth), Key: hash, Moderator: t.Moderator, Trusted: t.Trusted, Kudos: t.Kudos,
		Pseudonym: t.Class == horde.ClassPseudonymous,
	}))
	if err != nil {
		return horde.User{}, "", false, err
	}
	var out testUserResult
	if err := decode(data, &out); err != nil {
		return horde.User{}, "", false, fmt.Errorf("decode result: %w", err)
	}
	return out.Row.User.view(out.Row.ID, out.Row.Workers), key, out.Created, nil
}

// UpdateUser makes all of a change, or none.
func (c *Client) UpdateUser(ctx context.Context, u UserChange) (horde.User, error) {
	cmd := updateUser{
		Actor: u.Actor, Target: u.Target, Kudos: u.Kudos, Monthly: u.MonthlyKudos, UsagePermille: u.UsagePermille,
		Moderator: u.Moderator, Concurrency: u.Concurrency, WorkerInvited: u.WorkerInvited, Trusted: u.Trusted, Flagged: u.Flagged,
		Customizer: u.Customizer, VPN: u.VPN, Service: u.Service, Education: u.Education, Special: u.Special,
		ResetSuspicion: u.ResetSuspicion, AdminComment: u.AdminComment, PublicWorkers: u.PublicWorkers,
		Name: u.Name, Contact: u.Contact, Undelete: u.Undelete, Reason: u.Reason,
	}
	if u.Passkey != "" {
		cmd.Passkey = c.hash(u.Passkey)
	}
	data, err := c.everywhere(ctx, encodeCommand(kindUpdateUser, cmd))
	if err != nil {
		return horde.User{}, err
	}
	return decodeUser(data)
}

// DeleteUser marks an account deleted, or wipes one that was long ago.
func (c *Client) DeleteUser(ctx context.Context, actor, target horde.UserID) error {
	_, err := c.everywhere(ctx, encodeCommand(kindDeleteUser, deleteUser{Actor: actor, Target: target}))
	return err
}

// SuspectWorker records a suspicion against a worker and its owner.
func (c *Client) SuspectWorker(ctx context.Context, id horde.WorkerID, why Suspicion) error {
	_, err := c.do(ctx, encodeCommand(kindSuspect, suspect{Reason: why, Worker: id}))
	return err
}

// SuspectUser records a suspicion against a user.
func (c *Client) SuspectUser(ctx context.Context, id horde.UserID, why Suspicion) error {
	_, err := c.do(ctx, encodeCommand(kindSuspect, suspect{Reason: why, User: id}))
	return err
}

// Transfer moves kudos between users. With a Key, a repeat within 24 h moves nothing and
// succeeds as the first did.
func (c *Client) Transfer(ctx context.Context, t Transfer) error {
	_, err := c.do(ctx, encodeCommand(kindTransfer, newTransfer(t)))
	return err
}

// Transfers makes transfers in their order as one change of the log, each or not for itself:
// refused has nil or a *horde.Error for each. An err means that the outcome is not known here.
func (c *Client) Transfers(ctx context.Context, ts []Transfer) (refused []error, err error) {
	cmds := make([][]byte, len(ts))
	for i, t := range ts {
		cmds[i] = encodeCommand(kindTransfer, newTransfer(t))
	}
	results, err := c.log.Do(ctx, cmds...)
	if err != nil {
		return nil, err
	}
	if len(results) != len(ts) {
		return nil, fmt.Errorf("%w: %d to %d", errResults, len(results), len(ts))
	}
	refused = make([]error, len(ts))
	for i, r := range results {
		if e := r.Err(); e != nil {
			refused[i] = e
		}
	}
	return refused, nil
}

// Award makes kudos for a user, or destroys them if the amount is negative.
func (c *Client) Award(ctx context.Context, actor, to horde.UserID, amount horde.Kudos) error {
	_, err := c.do(ctx, encodeCommand(kindAward, award{actor, to, amount}))
	return err
}

// RegisterWorker returns the worker of that name, which it makes if there is none.
func (c *Client) RegisterWorker(ctx context.Context, n NewWorker) (horde.Worker, error) {
	c.mu.Lock()
	id, err := horde.NewWorkerID(c.rnd)
	c.mu.Unlock()
	if err != nil {
		return horde.Worker{}, fmt.Errorf("make worker id: %w", err)
	}
	data, err := c.everywhere(ctx, encodeCommand(kindRegister, registerWorker{ID: id, Owner: n.Owner, Kind: n.Kind, Name: n.Name}))
	if err != nil {
		return horde.Worker{}, err
	}
	return decodeWorker(data)
}

// UpdateWorker makes all of a change, or none.
func (c *Client) UpdateWorker(ctx context.Context, w WorkerChange) (horde.Worker, error) {
	data, err := c.everywhere(ctx, encodeCommand(kindUpdateWorker, updateWorker(w)))
	if err != nil {
		return horde.Worker{}, err
	}
	return decodeWorker(data)
}

// DeleteWorker removes a worker and returns what it was.
func (c *Client) DeleteWorker(ctx context.Context, actor horde.UserID, id horde.WorkerID) (horde.Worker, error) {
	data, err := c.everywhere(ctx, encodeCommand(kindDeleteWorker, deleteWorker{Actor: actor, Worker: id}))
	if err != nil {
		return horde.Worker{}, err
	}
	return decodeWorker(data)
}

// SetModes changes the modes of the federation and returns them all.
func (c *Client) SetModes(ctx context.Context, m ModesChange) (horde.Modes, error) {
	if at := c.Version(); m.InviteKinds != nil && at < inviteKindsVersion { // it would be left out
		return horde.Modes{}, errUpgrading(inviteKindsVersion, at)
	}
	data, err := c.everywhere(ctx, encodeCommand(kindSetModes, setModes(m)))
	if err != nil {
		return horde.Modes{}, err
	}
	var out modes
	if err := decode(data, &out); err != nil {
		return horde.Modes{}, fmt.Errorf("decode result: %w", err)
	}
	return horde.Modes(out), nil
}

// Admit opens a request's hold record and waits for it: horde.RCKudosUpfront if the payer
// cannot afford it.
func (c *Client) Admit(ctx context.Context, a horde.Admission) error {
	_, err := c.do(ctx, c.EncodeAdmission(a))
	return err
}

// EncodeAdmission returns the command for a durable outbox.
func (*Client) EncodeAdmission(a horde.Admission) []byte {
	return encodeCommand(kindAdmission, newAdmission(a))
}

// EncodeSettlement returns the command for a durable outbox.
func (*Client) EncodeSettlement(s horde.Settlement) []byte {
	return encodeCommand(kindSettlement, s)
}

// EncodeFinish returns the command for a durable outbox.
func (*Client) EncodeFinish(f horde.Finish) []byte { return encodeCommand(kindFinish, f) }

// EncodeAbort returns the command for a durable outbox.
func (*Client) EncodeAbort(a horde.Abort) []byte { return encodeCommand(kindAbort, a) }

// EncodeUptime returns the command for a durable outbox.
func (*Client) EncodeUptime(u horde.Uptime) []byte { return encodeCommand(kindUptime, u) }

// EncodeSuspicion returns the command for a durable outbox.
func (*Client) EncodeSuspicion(id horde.WorkerID, why Suspicion) []byte {
	return encodeCommand(kindSuspect, suspect{Reason: why, Worker: id})
}

// EncodeTooFast returns the command, for a durable outbox, that records a worker as
// delivering faster than is believed.
func (c *Client) EncodeTooFast(id horde.WorkerID) []byte {
	return c.EncodeSuspicion(id, SuspicionUnreasonablyFast)
}

// AdmitMember makes the sender of a join request (see SignJoin) a member.
func (c *Client) AdmitMember(ctx context.Context, join []byte) error {
	_, err := c.everywhere(ctx, encodeCommand(kindAdmitMember, admitMember{join}))
	return err
}

// UpdateMember changes what a member says of itself.
func (c *Client) UpdateMember(ctx context.Context, m MemberChange) error {
	_, err := c.everywhere(ctx, encodeCommand(kindUpdateMember, updateMember(m)))
	return err
}

// RemoveMember ends a membership: this node's own, or another's if this node may vote.
func (c *Client) RemoveMember(ctx context.Context, id horde.NodeID) error {
	_, err := c.everywhere(ctx, encodeCommand(kindRemoveMember, removeMember{id}))
	return err
}

// Tick moves expiry on and lets every node compare its state with this one's as of the
// tick before.
func (c *Client) Tick(ctx context.Context) error {
	h := c.Head()
	cmd := tick{Previous: h.TickIndex, Hash: h.TickHash}
	if at, ok := c.Checkpoint(); ok && at.Index == h.TickIndex && at.State == h.TickHash {
		cmd.Accounts = at.Root
	}
	_, err := c.do(ctx, encodeCommand(kindTick, cmd))
	return err
}

func (c *Client) do(ctx context.Context, cmd []byte) ([]byte, error) {
	return single(c.log.Do(ctx, cmd))
}

func (c *Client) everywhere(ctx context.Context, cmd []byte) ([]byte, error) {
	return single(c.log.DoEverywhere(ctx, cmd))
}

var errResults = errors.New("the log answered one command with a different number of results")

func single(rs []Result, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if len(rs) != 1 {
		return nil, fmt.Errorf("%w: %d", errResults, len(rs))
	}
	if err := rs[0].Err(); err != nil {
		return nil, err
	}
	return rs[0].Data, nil
}

func (c *Client) newKey() (horde.APIKey, digest, error) {
	c.mu.Lock()
	key, err := NewAPIKey(c.rnd)
	c.mu.Unlock()
	return key, c.hash(string(key)), err
}

// hash hashes a secret as the ledger keeps it.
func (c *Client) hash(secret string) digest {
	c.m.mu.RLock()
	defer c.m.mu.RUnlock()
	m := c.m.s.meta.get(unit{})
	if m == nil {
		return digest{} // which every command refuses
	}
	return hashSecret(m.Salt, secret)
}

// newID makes a random id.
func (c *Client) newID() (horde.UUID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, err := horde.NewWorkerID(c.rnd)
	if err != nil {
		return horde.UUID{}, fmt.Errorf("make id: %w", err)
	}
	return id.UUID, nil
}

// decodeRow reads what a command answered with, unless it was refused.
func decodeRow[T any](data []byte, err error) (T, error) {
	var row T
	if err != nil {
		return row, err
	}
	if err := decode(data, &row); err != nil {
		return row, fmt.Errorf("decode result: %w", err)
	}
	return row, nil
}

func decodeUser(data []byte) (horde.User, error) {
	var r userRow
	if err := decode(data, &r); err != nil {
		return horde.User{}, fmt.Errorf("decode result: %w", err)
	}
	return r.User.view(r.ID, r.Workers), nil
}

func decodeWorker(data []byte) (horde.Worker, error) {
	var r workerRow
	if err := decode(data, &r); err != nil {
		return horde.Worker{}, fmt.Errorf("decode result: %w", err)
	}
	return r.Worker.view(r.ID), nil
}
