package api

import (
	"context"

	"hordenode/internal/horde"
)

// Registry is what the endpoints of accounts and workers ask of the ledger beyond Accounts.
// Every write returns when it is committed and visible here; a refusal is a *horde.Error.
// *ledger.Client implements it but for the types of its arguments, which node converts.
type Registry interface {
	// Users returns a page of users by "kudos" (richest first) or "age" (oldest first).
	Users(sort string, offset, limit int) []horde.User
	// WorkersOf returns a user's workers.
	WorkersOf(horde.UserID) []horde.Worker

	// CreateUser makes an account and its key, which cannot be read again.
	CreateUser(ctx context.Context, u NewUser) (horde.User, horde.APIKey, error)
	// TestUser makes an account for tests, or gives the one of that login a new key and
	// balance.
	TestUser(ctx context.Context, u TestUser) (user horde.User, key horde.APIKey, created bool, err error)
	// UpdateUser makes all changes or none and returns the user afterwards.
	UpdateUser(ctx context.Context, c UserChange) (horde.User, error)
	// RotateKey gives a user a new key; the old one is invalid from then on.
	RotateKey(ctx context.Context, id horde.UserID) (horde.APIKey, error)
	// DeleteUser marks an account deleted, or wipes one that was deleted long ago.
	DeleteUser(ctx context.Context, actor, target horde.UserID) error

	// Transfer moves kudos between users; a repeated key is answered as the first time.
	Transfer(ctx context.Context, t Transfer) error
	// Transfers makes transfers of one sender in their order, each or not for itself: refused has
	// nil or a *horde.Error for each. err means that the outcome is not known.
	Transfers(ctx context.Context, ts []Transfer) (refused []error, err error)
	// Award makes kudos, or destroys them if the amount is negative.
	Award(ctx context.Context, actor, to horde.UserID, amount horde.Kudos) error

	// UpdateWorker makes all changes or none and returns the worker afterwards.
	UpdateWorker(ctx context.Context, c WorkerChange) (horde.Worker, error)
	// DeleteWorker removes a worker and returns it as it was.
	DeleteWorker(ctx context.Context, actor horde.UserID, id horde.WorkerID) (horde.Worker, error)

	// SetModes changes the federation's modes and returns them.
	SetModes(ctx context.Context, c ModesChange) (horde.Modes, error)
}

// A NewUser is an account that is to be made.
type NewUser struct {
	Name  string
	Class horde.Class
}

// A TestUser is an account for tests.
type TestUser struct {
	Name      string
	Login     string // names the account; only its hash leaves this node
	Class     horde.Class
	Moderator bool
	Trusted   bool
	Kudos     horde.Kudos // the balance afterwards
}

// A UserChange is what PUT /users may change; nil and zero fields stay as they are.
type UserChange struct {
	Actor, Target horde.UserID

	Kudos         *horde.Kudos // added to the balance, may be negative
	MonthlyKudos  *horde.Kudos // added to the entitlement; what is positive is paid at once
	UsagePermille *int64       // 100 to 10000
	Moderator     *bool
	Concurrency   *int
	WorkerInvited *int

	Trusted, Flagged, Customizer, VPN, Service, Education, Special *bool

	ResetSuspicion bool
	AdminComment   *string
	PublicWorkers  *bool
	Name           *string
	Contact        *string
	Passkey        string // a new proxy passkey; only its hash leaves this node
	Undelete       bool

	Reason string // public, in the moderation log
}

// A WorkerChange is what PUT /workers may change; nil fields stay as they are.
type WorkerChange struct {
	Actor          horde.UserID
	Worker         horde.WorkerID
	Maintenance    *bool
	MaintenanceMsg *string // counts only with Maintenance true
	Info           *string
	Paused         *bool
	Name           *string
	Team           *horde.TeamID // the zero id: leave the team

	Reason string // public, in the moderation log
}

// A Transfer moves kudos between users.
type Transfer struct {
	From, To horde.UserID
	Amount   horde.Kudos
	Key      string // Idempotency-Key; may be empty
}

// A ModesChange is what PUT /status/modes may change; nil fields stay as they are.
type ModesChange struct {
	Actor                         horde.UserID
	Maintenance, InviteOnly, Raid *bool

	Reason string // public, in the moderation log

	InviteKinds *uint8 // what InviteOnly is about, a bit for each horde.Kind; 0: all
}

// Live is what the status endpoints ask of the job plane. *exchange.Exchange implements it.
// Its answers are stale by seconds and cover all nodes that can be reached.
type Live interface {
	// Live returns what a worker said at its last check-in.
	Live(horde.WorkerID) (horde.LiveWorker, bool)
	// LiveWorkers returns all workers that checked in lately.
	LiveWorkers() []horde.LiveWorker
	// Models returns what is served and asked for.
	Models(horde.Kind) []horde.ModelStatus
	// ActiveRequests returns a user's requests, finished ones included until they expire.
	ActiveRequests(ctx context.Context, user horde.UserID) map[horde.Kind][]horde.RequestID
}
