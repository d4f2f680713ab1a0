package exchange

import (
	"context"

	"hordenode/internal/horde"
	"hordenode/node/jobs/match"
)

// Home is this node's own requests. *jobs.Home implements it.
type Home interface {
	// Accept stores a request durably and opens it to workers.
	Accept(ctx context.Context, r horde.Request) (horde.Acceptance, error)
	// Status returns the state of a request: horde.RCRequestNotFound. Its WaitTime is what
	// the running jobs still need, in seconds; place and queueing time are added here.
	Status(ctx context.Context, id horde.RequestID, generations bool) (horde.Status, error)
	// Cancel hands out no more jobs of a request and returns the state before.
	Cancel(ctx context.Context, id horde.RequestID) (horde.Status, error)
	// Claim grants jobs of one of the wanted requests or says why not. It answers a repeated
	// nonce with the first answer.
	Claim(ctx context.Context, c horde.Claim) (horde.Answer, error)
	// Submit stores a result: horde.RCInvalidJobID and other refusals. It answers a repeated
	// nonce with the first receipt.
	Submit(ctx context.Context, s horde.Submission) (horde.Receipt, error)
	// Offers returns the offers of all requests with open slots.
	Offers() []horde.Offer
	// Active returns the ids of a user's requests that are still kept.
	Active(user horde.UserID) map[horde.Kind][]horde.RequestID
}

// Blobs stores source images and results of this node's requests.
type Blobs interface {
	// Put stores a blob under a name that begins with a request or job id.
	Put(ctx context.Context, name string, data []byte) error
	// Get reads a blob. One that is not there is a *horde.Error.
	Get(ctx context.Context, name string) ([]byte, error)
}

// Ledger is the little that the exchange asks of accounts and members. The reads are of
// local state and quick.
type Ledger interface {
	User(horde.UserID) (horde.User, bool)
	Worker(horde.WorkerID) (horde.Worker, bool)
	WorkerByName(name string) (horde.Worker, bool)
	// RegisterWorker creates a worker or refuses: horde.RCTooManyWorkers,
	// horde.RCWorkerInviteOnly and the like.
	RegisterWorker(ctx context.Context, w NewWorker) (horde.Worker, error)
	MemberByTag(horde.HomeTag) (horde.Member, bool)
	Members() []horde.Member
	// Standin tells who took over a member's requests.
	Standin(horde.NodeID) horde.Standin
	// Sync returns when local state is as new as the moment of the call.
	Sync(ctx context.Context) error
	EncodeUptime(horde.Uptime) []byte
}

// A NewWorker is a worker that polls for the first time.
type NewWorker struct {
	Owner       horde.UserID
	Kind        horde.Kind
	Name        string
	BridgeAgent string
	IP          string // for limits; never stored or sent as it is
}

// Network carries bytes between the nodes. *p2p.Host implements it, through node.
type Network interface {
	// Call sends a request to a member and returns its response. An error means that the
	// member could not be asked, or may have handled the request without our knowing.
	Call(ctx context.Context, to horde.NodeID, proto string, req []byte) ([]byte, error)
	// Publish tells all members.
	Publish(ctx context.Context, topic string, data []byte) error
}

// Models is what the exchange asks of the model references.
type Models = match.Models

// The protocols and topics that node registers the Handle and Validate methods for.
const (
	ProtoClaim = "/horde/claim/1"
	ProtoJob   = "/horde/job/1"
	ProtoSync  = "/horde/sync/1"
	ProtoBlob  = "/horde/blob/1"

	TopicImage   = "o/image"
	TopicText    = "o/text"
	TopicAlchemy = "o/alchemy"
	TopicNews    = "n"
)

// MaxMessage is the largest gossip message, and MaxSyncPage the largest answer of
// /horde/sync/1, in bytes.
const (
	MaxMessage  = 64 << 10
	MaxSyncPage = 512 << 10
)

// A Verdict is what a validator says of a gossip message. The values are those of
// go-libp2p-pubsub's ValidationResult.
type Verdict int

// The verdicts.
const (
	Accept Verdict = iota // deliver and forward
	Reject                // invalid: do not forward, blame the sender
	Ignore                // do not forward, blame nobody
)
