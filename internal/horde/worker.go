package horde

import "time"

// Kind is what a request asks for and a worker does.
type Kind uint8

// The kinds. The values are stored: never renumber.
const (
	KindImage Kind = iota
	KindText
	KindAlchemy
)

// String returns the word that the API uses: "image", "text", "interrogation".
func (k Kind) String() string {
	switch k {
	case KindImage:
		return "image"
	case KindText:
		return "text"
	}
	return "interrogation"
}

// A Worker is a worker's durable record, the same on every node.
type Worker struct {
	ID             WorkerID
	Kind           Kind
	Name           string
	Owner          UserID
	Created        time.Time
	Info           string
	Maintenance    bool
	MaintenanceMsg string
	Paused         bool
	Suspicion      int
	Team           TeamID // zero: none

	KudosGenerated Kudos
	KudosUptime    Kudos
	Fulfilled      int64 // requests_fulfilled
	Uncompleted    int64 // uncompleted_jobs
	Things         int64 // delivered, raw: pixelsteps or tokens
	Uptime         int64 // seconds
}

// Caps is what a worker said of itself at its last check-in: all that matching needs of
// it, and nothing that is in the ledger. It travels in worker records and claims.
type Caps struct {
	BridgeAgent string   `cbor:"1,keyasint,omitempty"` // name:version:link
	Models      []string `cbor:"2,keyasint,omitempty"`
	NSFW        bool     `cbor:"3,keyasint,omitempty"`
	Threads     int      `cbor:"4,keyasint,omitempty"`
	Blacklist   []string `cbor:"5,keyasint,omitempty"` // lower case; checked by the home, which has the prompt

	// image
	MaxPixels      int64 `cbor:"6,keyasint,omitempty"`
	Img2Img        bool  `cbor:"7,keyasint,omitempty"`
	Painting       bool  `cbor:"8,keyasint,omitempty"`
	UnsafeIP       bool  `cbor:"9,keyasint,omitempty"`
	PostProcessing bool  `cbor:"10,keyasint,omitempty"`
	ControlNet     bool  `cbor:"11,keyasint,omitempty"`
	SDXLControlNet bool  `cbor:"12,keyasint,omitempty"`
	LoRA           bool  `cbor:"13,keyasint,omitempty"`
	LimitMaxSteps  bool  `cbor:"14,keyasint,omitempty"`
	ExtraSlow      bool  `cbor:"15,keyasint,omitempty"`
	RequireUpfront bool  `cbor:"16,keyasint,omitempty"`

	// text
	MaxLength        int      `cbor:"17,keyasint,omitempty"`
	MaxContextLength int      `cbor:"18,keyasint,omitempty"`
	SoftPrompts      []string `cbor:"19,keyasint,omitempty"`

	// alchemy: Models are the names of the forms that it does
	MaxTiles int `cbor:"20,keyasint,omitempty"`
}

// A LiveWorker is a worker as the job plane knows it: stale by seconds, gossiped.
type LiveWorker struct {
	ID        WorkerID  `cbor:"1,keyasint"`
	Kind      Kind      `cbor:"2,keyasint,omitempty"`
	Owner     UserID    `cbor:"3,keyasint,omitempty"`
	Caps      Caps      `cbor:"4,keyasint"`
	Speed     float64   `cbor:"5,keyasint,omitempty"` // things per second (alchemy: seconds per form), mean of the last 20 samples; 0 = none yet
	CheckedIn time.Time `cbor:"-"`                    // local clock; an age travels instead
	AgeMillis int64     `cbor:"6,keyasint,omitempty"`
}

// Online tells whether the worker checked in during the last 300 s.
func (w LiveWorker) Online(now time.Time) bool { return now.Sub(w.CheckedIn) <= StaleAfter }

// StaleAfter is how long after its last check-in a worker counts as online.
const StaleAfter = 300 * time.Second

// Performance is the answer of GET /status/performance: what the federation does now.
type Performance struct {
	QueuedRequests, QueuedTextRequests, QueuedForms int
	QueuedPixelsteps, QueuedTokens                  int64 // raw
	Workers, TextWorkers, AlchemyWorkers            int
	Threads, TextThreads, AlchemyThreads            int
	PastMinutePixelsteps, PastMinuteTokens          int64 // raw
}

// A ModelStatus is one model of GET /status/models.
type ModelStatus struct {
	Name        string
	Kind        Kind
	Count       int     // threads of online workers not in maintenance
	Performance float64 // raw things per second, mean of the last hour; 0 = none
	Queued      int64   // raw things
	Jobs        int
	ETA         int // seconds; 10000 = nobody serves it
}
