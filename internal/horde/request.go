package horde

import "time"

// A Shape is all that matching needs of a request: two requests of equal Shape can be
// served by exactly the same workers, the payer's own and the blacklisted aside. It is
// gossiped, so it holds no prompt, key or address.
type Shape struct {
	Kind   Kind     `cbor:"1,keyasint,omitempty"`
	Models []string `cbor:"2,keyasint,omitempty"` // any of these; empty = any model

	NSFW              bool       `cbor:"3,keyasint,omitempty"`
	TrustedOnly       bool       `cbor:"4,keyasint,omitempty"`
	ValidatedBackends bool       `cbor:"5,keyasint,omitempty"`
	SlowOK            bool       `cbor:"6,keyasint,omitempty"`
	ExtraSlowOK       bool       `cbor:"7,keyasint,omitempty"`
	UnsafeIP          bool       `cbor:"8,keyasint,omitempty"`
	Workers           []WorkerID `cbor:"9,keyasint,omitempty"`  // at most 5
	WorkersDeny       bool       `cbor:"10,keyasint,omitempty"` // Workers is a deny list

	// image
	Pixels         int64    `cbor:"11,keyasint,omitempty"` // width times height
	AccurateSteps  int      `cbor:"12,keyasint,omitempty"` // sampler-doubled
	Source         bool     `cbor:"13,keyasint,omitempty"` // has a source image
	Processing     string   `cbor:"14,keyasint,omitempty"` // img2img, inpainting, outpainting, remix
	ExtraSources   bool     `cbor:"15,keyasint,omitempty"`
	R2             bool     `cbor:"16,keyasint,omitempty"`
	Sampler        string   `cbor:"17,keyasint,omitempty"`
	Karras         bool     `cbor:"18,keyasint,omitempty"`
	LoRAs          bool     `cbor:"19,keyasint,omitempty"` // the key is present, even if empty
	LoRAVersions   bool     `cbor:"20,keyasint,omitempty"`
	TIs            bool     `cbor:"21,keyasint,omitempty"`
	PostProcessing []string `cbor:"22,keyasint,omitempty"`
	ControlType    string   `cbor:"23,keyasint,omitempty"`
	ImageIsControl bool     `cbor:"24,keyasint,omitempty"`
	ReturnControl  bool     `cbor:"25,keyasint,omitempty"`
	Tiling         bool     `cbor:"26,keyasint,omitempty"`
	HiresFix       bool     `cbor:"27,keyasint,omitempty"`
	ClipSkip       int      `cbor:"28,keyasint,omitempty"`
	Transparent    bool     `cbor:"29,keyasint,omitempty"`
	Workflow       string   `cbor:"30,keyasint,omitempty"`

	// text
	MaxLength        int `cbor:"31,keyasint,omitempty"`
	MaxContextLength int `cbor:"32,keyasint,omitempty"`

	// alchemy: Models are the names of the forms that nobody has
	Tiles int `cbor:"33,keyasint,omitempty"` // of 512 by 512 pixels, of the source image
}

// A Quote is what a request costs, fixed when it is accepted.
type Quote struct {
	Job       Kudos `cbor:"1,keyasint,omitempty"` // N: base price of one image job; 0 for text, priced when delivered
	Tax       Kudos `cbor:"2,keyasint,omitempty"` // paid at acceptance, never returned
	Upfront   Kudos `cbor:"3,keyasint,omitempty"` // must be available and is held; 0 = nothing is held
	PrePPM    int64 `cbor:"4,keyasint,omitempty"` // the debit is (reward*PrePPM + 1 kudo)*PostPPM; millionths, 0 = 1
	PostPPM   int64 `cbor:"5,keyasint,omitempty"`
	PromptLen int   `cbor:"6,keyasint,omitempty"` // characters, for the text price
}

// A Request is a client's request as its home keeps it. Body stays at the home and goes
// only to nodes that were granted one of its jobs.
type Request struct {
	ID       RequestID `cbor:"1,keyasint"`
	Kind     Kind      `cbor:"2,keyasint,omitempty"`
	Payer    UserID    `cbor:"3,keyasint,omitempty"`
	Slots    int       `cbor:"4,keyasint"` // jobs asked for: params.n
	Shape    Shape     `cbor:"5,keyasint"`
	Quote    Quote     `cbor:"6,keyasint"`
	Priority int64     `cbor:"7,keyasint,omitempty"`  // extra_priority at activation: whole kudos of the payer, -50, -100, ...
	Things   int64     `cbor:"8,keyasint"`            // raw work of one job: pixelsteps or max_length
	TTL      int       `cbor:"9,keyasint"`            // seconds a job may take, before the factor for extra slow workers
	NoBatch  bool      `cbor:"10,keyasint,omitempty"` // disable_batching
	Body     []byte    `cbor:"11,keyasint"`           // prompt and params in api's own encoding; opaque here
	Search   string    `cbor:"12,keyasint,omitempty"` // lower-case prompt that worker blacklists are looked up in; image only
	Client   string    `cbor:"13,keyasint,omitempty"` // Client-Agent
	Created  time.Time `cbor:"14,keyasint"`
	Forms    []Form    `cbor:"20,keyasint,omitempty"` // of an alchemy request, by slot

	Notify     bool         `cbor:"24,keyasint,omitempty"` // each result is told to jobs.Listener; whom that tells stands in Body
	SharedKey  SharedKeyRef `cbor:"25,keyasint,omitzero"`  // that the request was sent with; zero: none
	Style      StyleID      `cbor:"26,keyasint,omitzero"`  // that was applied; zero: none
	Collection StyleID      `cbor:"27,keyasint,omitzero"`  // that Style was picked from; zero: none
}

// A Form is one operation of an alchemy request. Its payload is in the request's Body.
type Form struct {
	Name  string `cbor:"1,keyasint"`
	Price Kudos  `cbor:"2,keyasint"` // what its worker earns
}

// A FormState is how far a form is, in the API's word.
type FormState string

// The states of a form.
const (
	FormWaiting    FormState = "waiting"
	FormProcessing FormState = "processing"
	FormDone       FormState = "done"
	FormFaulted    FormState = "faulted"
	FormCancelled  FormState = "cancelled"
)

// A FormStatus is one form in a Status.
type FormStatus struct {
	Name  string    `cbor:"1,keyasint"`
	State FormState `cbor:"2,keyasint"`
	Job   JobID     `cbor:"3,keyasint"` // whose Generation is the result, if it is done
}

// An Acceptance answers a request that was accepted.
type Acceptance struct {
	ID       RequestID
	Possible bool // a worker that is online now can serve it
}

// A Generation is one finished job of a request.
type Generation struct {
	ID         JobID      `cbor:"1,keyasint"`
	Worker     WorkerID   `cbor:"2,keyasint"`
	WorkerName string     `cbor:"3,keyasint,omitempty"`
	Model      string     `cbor:"4,keyasint,omitempty"`
	Seed       int64      `cbor:"5,keyasint,omitempty"`
	Result     []byte     `cbor:"6,keyasint,omitempty"` // text, or what the worker submitted for an image: base64, or R2
	Censored   bool       `cbor:"7,keyasint,omitempty"`
	State      string     `cbor:"8,keyasint,omitempty"` // ok, censored, csam
	Metadata   []Metadata `cbor:"9,keyasint,omitempty"`
	Body       []byte     `cbor:"-"`
	Kudos      float64    `cbor:"20,keyasint,omitempty"` // the reward as its worker was told
}

// Metadata is one gen_metadata entry.
type Metadata struct {
	Type  string `cbor:"1,keyasint" json:"type"`
	Value string `cbor:"2,keyasint" json:"value"`
	Ref   string `cbor:"3,keyasint,omitempty" json:"ref,omitempty"`
}

// A Status is the state of a request as clients see it.
type Status struct {
	Kind          Kind         `cbor:"1,keyasint,omitempty"`
	Finished      int          `cbor:"2,keyasint,omitempty"`
	Processing    int          `cbor:"3,keyasint,omitempty"`
	Restarted     int          `cbor:"4,keyasint,omitempty"`
	Waiting       int          `cbor:"5,keyasint,omitempty"`
	Done          bool         `cbor:"6,keyasint,omitempty"`
	Faulted       bool         `cbor:"7,keyasint,omitempty"`
	WaitTime      int          `cbor:"8,keyasint,omitempty"`  // seconds
	QueuePosition int          `cbor:"9,keyasint,omitempty"`  // 1 = next; 0 = nothing queued
	Kudos         Kudos        `cbor:"10,keyasint,omitempty"` // consumed so far, tax included
	IsPossible    bool         `cbor:"11,keyasint,omitempty"`
	Generations   []Generation `cbor:"12,keyasint,omitempty"` // only when asked for
	Body          []byte       `cbor:"13,keyasint,omitempty"` // the request's Body, for rendering (r2 or not)
	Forms         []FormStatus `cbor:"20,keyasint,omitempty"` // of an alchemy request, by slot
}

// A Grant is one or more jobs of one request, handed to a worker: a batch shares payload
// and model.
type Grant struct {
	Request   RequestID `cbor:"1,keyasint"`
	Kind      Kind      `cbor:"2,keyasint,omitempty"`
	Jobs      []JobID   `cbor:"3,keyasint"`
	Model     string    `cbor:"4,keyasint,omitempty"`
	TTL       int       `cbor:"5,keyasint"`            // seconds
	Body      []byte    `cbor:"6,keyasint,omitempty"`  // the request's Body
	Remaining int       `cbor:"7,keyasint,omitempty"`  // slots open before this batch was taken
	Fake      bool      `cbor:"8,keyasint,omitempty"`  // a decoy for a paused worker
	Slots     []int     `cbor:"12,keyasint,omitempty"` // alchemy: which form each job is
	Terms     *Terms    `cbor:"13,keyasint,omitempty"` // what the jobs are worth, for an answer when the home cannot be asked
}

// Terms are what a price depends on beside the result: with them the node that passes a
// grant on can tell a worker its reward when the home cannot be reached.
type Terms struct {
	Quote    Quote  `cbor:"1,keyasint"`
	Things   int64  `cbor:"2,keyasint,omitempty"`
	Workflow string `cbor:"3,keyasint,omitempty"`
	HiresFix bool   `cbor:"4,keyasint,omitempty"`
	Forms    []Form `cbor:"20,keyasint,omitempty"` // alchemy: by job
}

// A Claim asks a home for jobs on behalf of a worker. The home answers a repeated Nonce
// with the same grants.
type Claim struct {
	Nonce  [16]byte    `cbor:"1,keyasint"`
	Worker WorkerID    `cbor:"2,keyasint"`
	Caps   Caps        `cbor:"3,keyasint"`
	Speed  float64     `cbor:"4,keyasint,omitempty"`
	Amount int         `cbor:"5,keyasint"` // most jobs wanted, as one batch
	Want   []RequestID `cbor:"6,keyasint"` // best first, at most 8
}

// An Answer to a Claim: a grant, or why there is none.
type Answer struct {
	Grant   *Grant         `cbor:"1,keyasint,omitempty"`
	Skipped map[string]int `cbor:"2,keyasint,omitempty"` // reasons only the home can see, such as blacklist
	Gone    []RequestID    `cbor:"3,keyasint,omitempty"` // wanted, but no longer open
}

// A Submission delivers one job.
type Submission struct {
	Job      JobID      `cbor:"1,keyasint"`
	By       UserID     `cbor:"2,keyasint,omitempty"` // owner of the submitting key; must own the worker
	Result   []byte     `cbor:"3,keyasint,omitempty"`
	State    string     `cbor:"4,keyasint,omitempty"` // ok, censored, csam, faulted
	Seed     int64      `cbor:"5,keyasint,omitempty"`
	Metadata []Metadata `cbor:"6,keyasint,omitempty"`
	Nonce    UUID       `cbor:"7,keyasint,omitempty"` // of the node that took it; the home answers a repeat with the first receipt; zero = none
}

// A Receipt answers a Submission.
type Receipt struct {
	Reward float64  `cbor:"1,keyasint"`           // kudos, as the API shows it (not rounded to hundredths)
	Worker WorkerID `cbor:"2,keyasint"`           // whose speed sample this is
	Speed  float64  `cbor:"3,keyasint,omitempty"` // things per second of this job (alchemy: seconds per form)
	Kind   Kind     `cbor:"4,keyasint,omitempty"`
	Things int64    `cbor:"5,keyasint,omitempty"` // raw things delivered, for the past minute's count; 0 for a repeat
}

// A Pop is a worker's poll for work, as it came in over the API.
type Pop struct {
	User     User // owner of the key
	Kind     Kind
	Name     string // sanitised
	Caps     Caps
	Amount   int
	Priority []UserID // priority_usernames
	IP       string   // peer address, for limits; never leaves the node

	Wait  time.Duration   // for a job, if there is none; 0: not at all
	Leave <-chan struct{} // closed: wait no longer; nil: never
}

// A PopResult answers a Pop: a grant, or the reasons why nothing fitted.
type PopResult struct {
	Worker  Worker
	Grant   *Grant
	Skipped map[string]int // by the API's names; see spec/image.md 5.7 and spec/text.md 7.4
	More    []*Grant       // alchemy: forms of other requests
}

// Price is what one delivered job moves.
type Price struct {
	Reward float64 // G as shown to the worker
	Credit Kudos   // what the worker's owner earns: G times the bridge factor
	Debit  Kudos   // what the payer pays
	Things int64   // raw things delivered, for speed and contribution
}

// An Offer is what a home tells the federation of one of its open requests. It is a hint:
// the home checks again when a claim comes.
type Offer struct {
	ID       RequestID `cbor:"1,keyasint"`
	Rev      uint32    `cbor:"2,keyasint"`           // larger wins
	Open     int       `cbor:"3,keyasint,omitempty"` // slots not handed out; 0 = closed
	Shape    Shape     `cbor:"4,keyasint"`
	Payer    UserID    `cbor:"5,keyasint,omitempty"`
	Priority int64     `cbor:"6,keyasint,omitempty"`  // at activation; ages by 50 each 10 s for all alike
	AgeMS    int64     `cbor:"7,keyasint,omitempty"`  // since activation, at the time of sending
	Things   int64     `cbor:"8,keyasint,omitempty"`  // raw work of one job
	Job      Kudos     `cbor:"9,keyasint,omitempty"`  // base price of one job, for require_upfront_kudos
	Running  int       `cbor:"10,keyasint,omitempty"` // jobs handed out and not finished
}
