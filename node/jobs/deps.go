package jobs

import (
	"context"

	"hordenode/internal/horde"
)

// Ledger is the little that a home asks of accounts and kudos. *ledger.Client implements it.
type Ledger interface {
	// User and Worker read local state.
	User(horde.UserID) (horde.User, bool)
	Worker(horde.WorkerID) (horde.Worker, bool)
	// Admit opens a hold and waits for the commit. A *horde.Error is a refusal and means that
	// nothing happened; after any other error the outcome is unknown.
	Admit(context.Context, horde.Admission) error
	// The encoders make commands for the durable outbox.
	EncodeAdmission(horde.Admission) []byte
	EncodeSettlement(horde.Settlement) []byte
	EncodeFinish(horde.Finish) []byte
	EncodeAbort(horde.Abort) []byte
	// EncodeTooFast makes the command that records an unbelievably fast worker.
	EncodeTooFast(horde.WorkerID) []byte
}

// Pricer says what one delivered job moves. *pricing.List implements it.
type Pricer interface {
	// Price must not keep r or result. r comes without Body, Search and Client.
	Price(r *horde.Request, model, bridgeAgent string, ownerTrusted bool, result []byte, censored bool) horde.Price
	// TooFast returns how many rules the speed, in things per second, breaks.
	TooFast(r *horde.Request, model string, speed float64) int
}

// A Candidate is a worker that asks for a job, with all that this node knows of it.
type Candidate struct {
	Worker horde.Worker // as the ledger has it
	Owner  horde.User
	Caps   horde.Caps
	Speed  float64 // things per second, 0 = no sample yet
}

// A Matcher tells why a worker may not serve a request: the reason's name in the API's
// skipped, or "" if it may. r comes without Body and Search; the home itself has checked
// maintenance, pause and the blacklist words, which need what only it has.
type Matcher func(c Candidate, r *horde.Request, payer horde.User) (reason string)

// A Watcher hears of every change of an offer: exchange gossips it and wakes waiting pops.
type Watcher interface {
	// OfferChanged must not block and must not call the Home. Open 0 means closed. Calls may
	// come out of order: the larger Rev counts.
	OfferChanged(horde.Offer)
}

// A Listener hears of results that clients want to be told of: webhooks.
type Listener interface {
	// Delivered is called when a result of a request with Notify is durable. r comes with
	// Body. It must not block.
	Delivered(r *horde.Request, g horde.Generation)
}

// Blobs holds what requests and jobs leave beside their records. A blob.Store implements it,
// and so does what node makes of one.
type Blobs interface {
	// Has tells whether an image of that name was uploaded; what is no image does not count.
	Has(ctx context.Context, name string) bool
	// Put stores a blob: of a request that this home adopts.
	Put(ctx context.Context, name string, data []byte) error
	// DeleteAll deletes the blobs whose names begin with id; that there are none is no error.
	DeleteAll(ctx context.Context, id horde.UUID) error
}
