package api

import (
	"context"
	"io"
	"net/netip"

	"hordenode/api/login"
	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// Deps are the parts that the API speaks to. All are required unless said otherwise.
type Deps struct {
	Accounts Accounts
	Board    Board
	Models   Models
	Pricing  Pricing
	Registry Registry
	Live     Live

	// Book is what anybody may read of the ledger; nil: nothing.
	Book Book

	// Community is teams, shared keys, styles and moderation.
	Community Community

	// Requirements tells what an image model asks for; nil: nobody is warned.
	Requirements func(model string) Requirements

	// WebhookSecret is what webhooks about a user's requests are signed with; nil: there are none.
	WebhookSecret func(horde.UserID) string

	// Totals are the finished jobs of all nodes; nil: none are told.
	Totals func(context.Context) horde.Totals

	Watch Watch // wakes who waits for a request; nil: nobody can wait
	// NSFW tells models that are made for adults; nil: none are.
	NSFW func(kind horde.Kind, model string) bool
	// SuspectPrompt records that a user sent a corrupt prompt; nil: it is not recorded.
	SuspectPrompt func(ctx context.Context, user horde.UserID) error
	// Blocks are the addresses that are kept out; nil: there are none.
	Blocks Blocks
	// UnsafeIP tells whether an address is known to be a VPN or a proxy; nil: none is.
	UnsafeIP func(context.Context, netip.Addr) bool
	// SuspectWorker records that a worker polled from an unsafe address; nil: it is not recorded.
	SuspectWorker func(context.Context, horde.WorkerID) error
	// Passkey finds the account that a proxy's passkey belongs to; nil: there are none. A
	// *ledger.Client's UserByPasskey.
	Passkey func(passkey string) (horde.User, bool)

	Providers []*login.Provider // that people may log in with; none: by API key only
	Logins    Logins            // required with Providers

	// Presign gives addresses of the store of images itself; nil: there are none, and all bytes
	// go through the node.
	Presign Presign

	Outbound  Outbound   // downloads source images; nil: they are refused
	Addresses *Addresses // of workers, for moderators; nil: not remembered
	// AddressElsewhere asks the other nodes from where a worker polls them, for a moderator who
	// looks at it; nil: they are not asked. "" if none knows.
	AddressElsewhere func(context.Context, horde.WorkerID) string
	Secrets          io.Reader // nil: crypto/rand
}

// Outbound reaches the internet on behalf of clients. *outbound.Client implements it.
type Outbound interface {
	// Get reads what is at an address, most bytes at most; its errors are those of
	// outbound.Client.
	Get(ctx context.Context, address string, most int64) ([]byte, error)
}

// Models is what the API asks of the model references. *modelref.Store implements it.
type Models interface {
	// Known tells whether a model is in the references.
	Known(kind horde.Kind, model string) bool
	// Baseline is the family of an image model, "stable diffusion 1" if unknown.
	Baseline(model string) string
	// Type is the kind of file of an image model, such as "controlnet"; "" if unknown.
	Type(model string) string
}

// Requirements are the settings that an image model was made for; what is nil is not asked
// for. The fields are those of modelref.Requirements, so that node can convert.
type Requirements struct {
	ClipSkip       *float64
	Steps          *float64
	MinSteps       *float64
	MaxSteps       *float64
	CFG            *float64
	MinCFG, MaxCFG *float64
	Samplers       []string
	Schedulers     []string
}

// Pricing says what things cost. *pricing.List implements it.
type Pricing interface {
	// ImageQuote is what a request costs, without Upfront.
	ImageQuote(pricing.Image, pricing.Order) horde.Quote
	// ImageEstimate answers a dry run, in kudos and unrounded.
	ImageEstimate(pricing.Image, pricing.Order) float64
	// ImageUpfront tells whether the price must be available; the payload has no source yet.
	ImageUpfront(pricing.Image, pricing.Order, pricing.Load) pricing.Upfront
	// DowngradeImage shrinks a payload to what needs no kudos upfront.
	DowngradeImage(i pricing.Image, models []string, side int) pricing.Image
	// ImageTTL is how many seconds one job may take.
	ImageTTL(i pricing.Image, models []string) int
	// TextEstimate and TextUpfront are the same for texts.
	TextEstimate(pricing.Text) float64
	TextUpfront(pricing.Text, pricing.Load) pricing.Upfront
}

// Accounts is what the API asks of the ledger. *ledger.Client implements it.
type Accounts interface {
	// UserByKey finds a key's user in local state.
	UserByKey(horde.APIKey) (horde.User, bool)
	// User finds a user in local state.
	User(horde.UserID) (horde.User, bool)
	// Worker finds a worker in local state.
	Worker(horde.WorkerID) (horde.Worker, bool)
	// WorkerByName finds a worker by its exact name.
	WorkerByName(name string) (horde.Worker, bool)
	// Modes are the federation's modes.
	Modes() horde.Modes
	// Sync returns when local state is as new as the moment of the call.
	Sync(ctx context.Context) error
}

// Board is where requests live, whichever node is their home. *exchange.Exchange
// implements it.
type Board interface {
	// NewRequestID makes an id that this node is the home of.
	NewRequestID() (horde.RequestID, error)
	// Accept stores a request and opens it to workers.
	Accept(ctx context.Context, r horde.Request) (horde.Acceptance, error)
	// Status returns the state of a request, with its generations if asked for:
	// horde.RCRequestNotFound, horde.RCUnavailable.
	Status(ctx context.Context, id horde.RequestID, generations bool) (horde.Status, error)
	// Cancel hands out no more jobs of a request and returns the state before.
	Cancel(ctx context.Context, id horde.RequestID) (horde.Status, error)
	// Pop gives a worker jobs, or says why not.
	Pop(ctx context.Context, p horde.Pop) (horde.PopResult, error)
	// Submit delivers a job.
	Submit(ctx context.Context, s horde.Submission) (horde.Receipt, error)
	// Waiting counts a user's jobs that nobody took yet, on all nodes: all, or once for each of
	// the models that they name.
	Waiting(user horde.UserID, kind horde.Kind, models ...string) int
	// ConfirmWaiting is Waiting, asked of the homes: a refusal should not rest on old news.
	ConfirmWaiting(ctx context.Context, user horde.UserID, kind horde.Kind, models ...string) int
	// Performance is the load of the federation.
	Performance() horde.Performance
	// PutBlob stores a blob at the home of the request or job that its name begins with.
	PutBlob(ctx context.Context, name string, data []byte) error
	// Blob reads a blob from the home of the request or job that its name begins with.
	Blob(ctx context.Context, name string) ([]byte, error)
}
