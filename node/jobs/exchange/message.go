package exchange

import (
	"errors"
	"fmt"
	"math"

	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
)

// A batch tells changes of one kind's offers, in the order of Seq (topics o/image, o/text,
// o/alchemy).
type batch struct {
	Boot   uint64        `cbor:"1,keyasint"` // of the home's process, Unix milliseconds: larger is later
	Seq    uint64        `cbor:"2,keyasint"` // per boot and kind, from 1
	Offers []horde.Offer `cbor:"3,keyasint,omitempty"`
	Closed []closed      `cbor:"4,keyasint,omitempty"`
}

// outBatch is a batch whose offers are encoded already, so that its size is known.
type outBatch struct {
	Boot   uint64            `cbor:"1,keyasint"`
	Seq    uint64            `cbor:"2,keyasint"`
	Offers []cbor.RawMessage `cbor:"3,keyasint,omitempty"`
	Closed []closed          `cbor:"4,keyasint,omitempty"`
}

// closed tells that a request has no open slots as of a revision.
type closed struct {
	ID  horde.RequestID `cbor:"1,keyasint"`
	Rev uint32          `cbor:"2,keyasint"`
}

// news is a message on topic n.
type news struct {
	Boot    uint64         `cbor:"1,keyasint"`
	Seq     uint64         `cbor:"2,keyasint"` // per boot, from 1
	Beacon  *beacon        `cbor:"3,keyasint,omitempty"`
	Workers []workerRecord `cbor:"4,keyasint,omitempty"`
}

// outNews is a news whose workers are encoded already.
type outNews struct {
	Boot    uint64            `cbor:"1,keyasint"`
	Seq     uint64            `cbor:"2,keyasint"`
	Beacon  *beacon           `cbor:"3,keyasint,omitempty"`
	Workers []cbor.RawMessage `cbor:"4,keyasint,omitempty"`
}

// A beacon says that a home lives and what it has told, so that others notice what they
// missed.
type beacon struct {
	Streams   [kinds]streamState `cbor:"1,keyasint"` // by kind
	Idle      [kinds]int         `cbor:"2,keyasint"` // workers polling at this node without work
	Delivered [kinds]int64       `cbor:"3,keyasint"` // raw things delivered to this home in the past minute

	Divided int                    `cbor:"4,keyasint,omitempty"` // shards that there are
	Shards  map[uint16]streamState `cbor:"5,keyasint,omitempty"` // by stream, of those that were told in
}

// state is that of a stream, with so many shards.
func (b *beacon) state(stream, shards int) streamState {
	switch {
	case stream < kinds:
		return b.Streams[stream]
	case b.Divided == shards:
		return b.Shards[uint16(stream)]
	}
	return streamState{}
}

// streamState is the state of a home's offers of a kind, as told up to Seq.
type streamState struct {
	Seq    uint64 `cbor:"1,keyasint,omitempty"`
	Open   int    `cbor:"2,keyasint,omitempty"` // offers
	Digest uint64 `cbor:"3,keyasint,omitempty"` // XOR of mark(id, rev, open)
}

// A workerRecord is a live worker as one node tells others. Rev grows with each change,
// whichever node makes it; the larger wins.
type workerRecord struct {
	horde.LiveWorker
	Rev        uint64 `cbor:"16,keyasint"`
	Samples    int    `cbor:"17,keyasint,omitempty"` // that Speed is the mean of, at most 20
	Unreported int64  `cbor:"18,keyasint,omitempty"` // milliseconds of uptime not yet in the ledger
	Clock      int64  `cbor:"19,keyasint,omitempty"` // milliseconds of uptime since the last reward
	Light      bool   `cbor:"20,keyasint,omitempty"` // Caps are left out: they are as told before

	By horde.NodeID `cbor:"21,keyasint"` // the node that made Rev; of two with the same Rev the larger wins
}

// syncRequest asks a home for all that it has told of one subject, page by page.
type syncRequest struct {
	Subject  int            `cbor:"1,keyasint"`           // a kind: its offers; subjectWorkers: workers
	Snapshot uint64         `cbor:"2,keyasint,omitempty"` // of the first page; 0 asks for a new one
	Offset   int            `cbor:"3,keyasint,omitempty"`
	After    horde.WorkerID `cbor:"4,keyasint"` // workers: the last one seen

	Stream int `cbor:"5,keyasint,omitempty"` // a shard's, of Subject's kind; 0: the kind's own
	Shards int `cbor:"6,keyasint,omitempty"` // that there are, as far as the asker knows
}

type syncResponse struct {
	Boot     uint64            `cbor:"1,keyasint"`
	Seq      uint64            `cbor:"2,keyasint,omitempty"` // offers: all batches up to this one are in
	Snapshot uint64            `cbor:"3,keyasint,omitempty"` // 0: expired, begin again
	Next     int               `cbor:"4,keyasint,omitempty"` // offset of the next page
	More     bool              `cbor:"5,keyasint,omitempty"`
	Offers   []cbor.RawMessage `cbor:"6,keyasint,omitempty"`
	Workers  []cbor.RawMessage `cbor:"7,keyasint,omitempty"`
}

const subjectWorkers = kinds

// jobRequest asks a home about one of its requests or jobs.
type jobRequest struct {
	Op          jobOp             `cbor:"1,keyasint"`
	Request     horde.RequestID   `cbor:"2,keyasint"`
	Generations bool              `cbor:"3,keyasint,omitempty"`
	Submission  *horde.Submission `cbor:"4,keyasint,omitempty"`
	User        horde.UserID      `cbor:"5,keyasint,omitempty"`
	Kind        horde.Kind        `cbor:"6,keyasint,omitempty"`
	Workers     []cbor.RawMessage `cbor:"7,keyasint,omitempty"`  // workerRecords, of opWorkers
	Changed     []horde.RequestID `cbor:"8,keyasint,omitempty"`  // of opChanged
	Watch       bool              `cbor:"9,keyasint,omitempty"`  // opStatus: somebody waits at the asking node for changes
	Models      []string          `cbor:"10,keyasint,omitempty"` // opOffersOf: only slots of offers that name them count
}

type jobOp uint8

const (
	opStatus jobOp = iota + 1
	opCancel
	opSubmit
	opActive
	opOffersOf
	opWorkers // tells, asks nothing
	opChanged // tells, asks nothing
	opTotals
)

type jobResponse struct {
	Refusal *refusal                         `cbor:"1,keyasint,omitempty"`
	Status  *horde.Status                    `cbor:"2,keyasint,omitempty"`
	Receipt *horde.Receipt                   `cbor:"3,keyasint,omitempty"`
	Active  map[horde.Kind][]horde.RequestID `cbor:"4,keyasint,omitempty"`
	Offers  []horde.Offer                    `cbor:"5,keyasint,omitempty"`
	Slots   int                              `cbor:"6,keyasint,omitempty"` // open ones of all the user's offers, where Offers are but the first
	Totals  *horde.Totals                    `cbor:"7,keyasint,omitempty"`
}

type claimResponse struct {
	Refusal *refusal      `cbor:"1,keyasint,omitempty"`
	Answer  *horde.Answer `cbor:"2,keyasint,omitempty"`
}

type blobRequest struct {
	Name string `cbor:"1,keyasint"`
	Put  bool   `cbor:"2,keyasint,omitempty"`
	Data []byte `cbor:"3,keyasint,omitempty"`
}

type blobResponse struct {
	Refusal *refusal `cbor:"1,keyasint,omitempty"`
	Data    []byte   `cbor:"2,keyasint,omitempty"`
}

// A refusal is a *horde.Error on its way.
type refusal struct {
	RC  horde.RC `cbor:"1,keyasint"`
	Msg string   `cbor:"2,keyasint,omitempty"`
}

// refusalOf returns err as a refusal. An error that is none is returned as it is.
func refusalOf(err error) (*refusal, error) {
	if e, ok := errors.AsType[*horde.Error](err); ok {
		return &refusal{RC: e.RC, Msg: e.Msg}, nil
	}
	return nil, err
}

func (r *refusal) err() error {
	if r == nil {
		return nil
	}
	return &horde.Error{RC: r.RC, Msg: r.Msg}
}

// errInvalid is in the chain of every error about a message that breaks a rule.
var errInvalid = errors.New("invalid message")

var decoder = newDecoder()

// newDecoder makes the decoder of everything that comes from other nodes. Unknown keys are
// ignored, so that nodes of different versions understand each other.
func newDecoder() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxArrayElements: 8192,
		MaxMapPairs:      256,
		MaxNestedLevels:  12,
	}.DecMode()
	if err != nil {
		panic(err) // the options above are constant
	}
	return mode
}

// encode returns the CBOR form of a message.
func encode(v any) ([]byte, error) {
	b, err := cbor.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return b, nil
}

// decode reads one message and nothing after it.
func decode[T any](b []byte) (*T, error) {
	v := new(T)
	if err := decoder.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("%w: %w", errInvalid, err)
	}
	return v, nil
}

// The bounds of what a message may hold. They are wider than the API's, so that a node with
// wider ones is understood.
const (
	maxBatchOffers  = 4096
	maxShapeModels  = 512
	maxShapeWorkers = 64
	maxShapeList    = 64
	maxString       = 512
	maxOpen         = 1 << 10
	maxCapsModels   = 1024
	maxCapsWords    = 512
	maxRecords      = 4096
)

// errForeign: a message is about requests that its author does not keep, as far as we know.
var errForeign = fmt.Errorf("%w: request of another home", errInvalid)

// decodeBatch reads a batch of a kind whose author keeps requests of the homes that keeps
// tells. An offer of another home's is errForeign: we may only not know yet that its author
// has taken them over.
func decodeBatch(data []byte, kind horde.Kind, keeps func(horde.HomeTag) bool) (*batch, error) {
	if len(data) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes", errInvalid, len(data))
	}
	b, err := decode[batch](data)
	if err != nil {
		return nil, err
	}
	if b.Boot == 0 || b.Seq == 0 || len(b.Offers) > maxBatchOffers || len(b.Closed) > maxBatchOffers {
		return nil, fmt.Errorf("%w: batch", errInvalid)
	}
	for i := range b.Offers {
		if err := checkOffer(&b.Offers[i], kind, keeps); err != nil {
			return nil, err
		}
	}
	for _, c := range b.Closed {
		if !keeps(c.ID.Home()) {
			return nil, errForeign
		}
	}
	return b, nil
}

func checkOffer(o *horde.Offer, kind horde.Kind, keeps func(horde.HomeTag) bool) error {
	s := &o.Shape
	switch {
	case !keeps(o.ID.Home()):
		return errForeign
	case s.Kind != kind:
		return fmt.Errorf("%w: kind", errInvalid)
	case o.Open <= 0 || o.Open > maxOpen || o.Running < 0 || o.AgeMS < 0 || o.Things < 0 || s.Tiles < 0:
		return fmt.Errorf("%w: offer", errInvalid)
	case len(s.Workers) > maxShapeWorkers || !stringsFit(s.Models, maxShapeModels) || !stringsFit(s.PostProcessing, maxShapeList):
		return fmt.Errorf("%w: shape", errInvalid)
	case len(s.Sampler)+len(s.ControlType)+len(s.Workflow)+len(s.Processing) > maxString:
		return fmt.Errorf("%w: shape", errInvalid)
	}
	return nil
}

// decodeNews reads a message of topic n.
func decodeNews(data []byte) (*news, error) {
	if len(data) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes", errInvalid, len(data))
	}
	n, err := decode[news](data)
	if err != nil {
		return nil, err
	}
	if n.Boot == 0 || n.Seq == 0 || len(n.Workers) > maxRecords {
		return nil, fmt.Errorf("%w: news", errInvalid)
	}
	if b := n.Beacon; b != nil {
		for k := range kinds {
			if b.Streams[k].Open < 0 || b.Idle[k] < 0 || b.Delivered[k] < 0 {
				return nil, fmt.Errorf("%w: beacon", errInvalid)
			}
		}
		if b.Divided < 0 || b.Divided > MaxShards || len(b.Shards) > streamCount(MaxShards) {
			return nil, fmt.Errorf("%w: beacon", errInvalid)
		}
	}
	for i := range n.Workers {
		if err := checkRecord(&n.Workers[i]); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func checkRecord(r *workerRecord) error {
	switch {
	case r.ID.IsZero() || r.Kind > horde.KindAlchemy || r.Rev == 0 || r.By == "" || len(r.By) > maxString:
		return fmt.Errorf("%w: worker", errInvalid)
	case math.IsNaN(r.Speed) || math.IsInf(r.Speed, 0) || r.Speed < 0:
		return fmt.Errorf("%w: speed", errInvalid)
	case r.AgeMillis < 0 || r.Samples < 0 || r.Samples > maxSamples || r.Unreported < 0 || r.Clock < 0:
		return fmt.Errorf("%w: worker", errInvalid)
	}
	return checkCaps(&r.Caps)
}

func checkCaps(c *horde.Caps) error {
	if len(c.BridgeAgent) > 4*maxString || c.Threads < 0 || c.Threads > 1000 || c.MaxTiles < 0 ||
		!stringsFit(c.Models, maxCapsModels) || !stringsFit(c.Blacklist, maxCapsWords) || !stringsFit(c.SoftPrompts, maxCapsWords) {
		return fmt.Errorf("%w: capabilities", errInvalid)
	}
	return nil
}

func stringsFit(s []string, most int) bool {
	for _, x := range s {
		if len(x) > maxString {
			return false
		}
	}
	return len(s) <= most
}
