package rest

import (
	"context"
	"encoding/json"
	"net/http"
)

// A Kind is what a request asks for and a worker makes.
type Kind string

// The kinds that simulated workers serve.
const (
	Text    Kind = "text"
	Image   Kind = "image"
	Alchemy Kind = "alchemy"
)

// path is where the API keeps a kind's endpoints.
func (k Kind) path() string {
	switch k {
	case Text:
		return "/api/v2/generate/text"
	case Alchemy:
		return "/api/v2/interrogate"
	}
	return "/api/v2/generate"
}

// A Request asks for text or images. Params are the API's, by their names there.
type Request struct {
	Prompt      string         `json:"prompt"`
	Params      map[string]any `json:"params,omitempty"`
	Models      []string       `json:"models,omitempty"`
	NSFW        *bool          `json:"nsfw,omitempty"`
	R2          *bool          `json:"r2,omitempty"`
	SlowWorkers *bool          `json:"slow_workers,omitempty"`
}

// An Accepted answers a request.
type Accepted struct {
	ID      string  `json:"id"`
	Kudos   float64 `json:"kudos"`
	Message string  `json:"message"`
}

// A Status is how far a request is.
type Status struct {
	Finished    int     `json:"finished"`
	Processing  int     `json:"processing"`
	Waiting     int     `json:"waiting"`
	Done        bool    `json:"done"`
	Faulted     bool    `json:"faulted"`
	Kudos       float64 `json:"kudos"`
	IsPossible  bool    `json:"is_possible"`
	Generations []struct {
		ID    string `json:"id"`
		State string `json:"state"`
		Text  string `json:"text"`
		Img   string `json:"img"`
	} `json:"generations"`
}

// An Interrogation asks for forms: operations on one image.
type Interrogation struct {
	Forms       []OrderedForm `json:"forms"`
	SourceImage string        `json:"source_image"` // base64
	SlowWorkers *bool         `json:"slow_workers,omitempty"`
}

// An OrderedForm is one operation of an Interrogation.
type OrderedForm struct {
	Name    string         `json:"name"`
	Payload map[string]any `json:"payload,omitempty"`
}

// Interrogate sends an Interrogation.
func (c *Client) Interrogate(ctx context.Context, q Interrogation) (Accepted, error) {
	var a Accepted
	err := c.Do(ctx, http.MethodPost, Alchemy.path()+"/async", q, &a)
	return a, err
}

// A Pop asks for work.
type Pop struct {
	Name             string   `json:"name"`
	Models           []string `json:"models"`
	BridgeAgent      string   `json:"bridge_agent"`
	Threads          int      `json:"threads,omitempty"`
	Amount           int      `json:"amount,omitempty"`
	NSFW             bool     `json:"nsfw"`
	MaxLength        int      `json:"max_length,omitempty"`
	MaxContextLength int      `json:"max_context_length,omitempty"`
	MaxPixels        int      `json:"max_pixels,omitempty"`
	LoRA             bool     `json:"allow_lora,omitempty"`
	ControlNet       bool     `json:"allow_controlnet,omitempty"`
	SDXLControlNet   bool     `json:"allow_sdxl_controlnet,omitempty"`
	Forms            []string `json:"forms,omitempty"`     // alchemy
	MaxTiles         int      `json:"max_tiles,omitempty"` // alchemy
}

// A Job answers a Pop; All is empty when there was nothing to do. IDs and R2Uploads have
// the same order. An alchemist gets Forms instead.
type Job struct {
	ID        string         `json:"id"`
	IDs       []string       `json:"ids"`
	Model     string         `json:"model"`
	TTL       float64        `json:"ttl"` // seconds
	Payload   Payload        `json:"payload"`
	R2Upload  string         `json:"r2_upload"`
	R2Uploads []string       `json:"r2_uploads"`
	Skipped   map[string]int `json:"skipped"`
	Forms     []Form         `json:"forms"`
}

// A Form is one operation that an alchemist shall do.
type Form struct {
	ID          string `json:"id"`
	Form        string `json:"form"`
	SourceImage string `json:"source_image"`
	R2Upload    string `json:"r2_upload"`
}

// All returns the ids of the job: a batch has several.
func (j Job) All() []string {
	if len(j.Forms) > 0 {
		ids := make([]string, len(j.Forms))
		for i, f := range j.Forms {
			ids[i] = f.ID
		}
		return ids
	}
	if len(j.IDs) == 0 && j.ID != "" {
		return []string{j.ID}
	}
	return j.IDs
}

// UploadURL is where the image of the i-th id goes; empty: into the submission.
func (j Job) UploadURL(i int) string {
	if i < len(j.Forms) {
		return j.Forms[i].R2Upload
	}
	if i < len(j.R2Uploads) {
		return j.R2Uploads[i]
	}
	if i == 0 {
		return j.R2Upload
	}
	return ""
}

// A Payload is what a simulated worker looks at.
type Payload struct {
	Prompt    string  `json:"prompt"`
	MaxLength float64 `json:"max_length"` // tokens
	Width     int     `json:"width"`
	Height    int     `json:"height"`
	Steps     int     `json:"ddim_steps"`
	Seed      string  `json:"seed"`
}

// A Submission delivers the result of one id.
type Submission struct {
	ID         string `json:"id"`
	Generation string `json:"generation"` // text, base64 image, or R2 after an upload
	State      string `json:"state,omitempty"`
	Seed       int64  `json:"seed"`

	Result map[string]any `json:"result,omitempty"` // alchemy, instead of Generation
}

// Async sends a request.
func (c *Client) Async(ctx context.Context, k Kind, r Request) (Accepted, error) {
	var a Accepted
	err := c.Do(ctx, http.MethodPost, k.path()+"/async", r, &a)
	return a, err
}

// AsyncRaw sends a request that is JSON already.
func (c *Client) AsyncRaw(ctx context.Context, k Kind, body []byte) (Accepted, error) {
	var a Accepted
	err := c.DoRaw(ctx, http.MethodPost, k.path()+"/async", body, &a)
	return a, err
}

// Status asks how far a request is; with results once they are there.
func (c *Client) Status(ctx context.Context, k Kind, id string) (Status, error) {
	var s Status
	err := c.Do(ctx, http.MethodGet, k.path()+"/status/"+id, nil, &s)
	return s, err
}

// Cancel ends a request.
func (c *Client) Cancel(ctx context.Context, k Kind, id string) error {
	return c.Do(ctx, http.MethodDelete, k.path()+"/status/"+id, nil, nil)
}

// Pop asks for work.
func (c *Client) Pop(ctx context.Context, k Kind, p Pop) (Job, error) {
	var j Job
	err := c.Do(ctx, http.MethodPost, k.path()+"/pop", p, &j)
	return j, err
}

// PopRaw asks for work with a body that is JSON already.
func (c *Client) PopRaw(ctx context.Context, k Kind, body []byte) (Job, error) {
	var j Job
	err := c.DoRaw(ctx, http.MethodPost, k.path()+"/pop", body, &j)
	return j, err
}

// Submit delivers a result and returns the kudos it earned.
func (c *Client) Submit(ctx context.Context, k Kind, s Submission) (reward float64, err error) {
	var r struct {
		Reward float64 `json:"reward"`
	}
	err = c.Do(ctx, http.MethodPost, k.path()+"/submit", s, &r)
	return r.Reward, err
}

// Transfer sends kudos to the user with the given alias (name#number).
func (c *Client) Transfer(ctx context.Context, to string, amount int) error {
	in := struct {
		Username string `json:"username"`
		Amount   int    `json:"amount"`
	}{to, amount}
	return c.Do(ctx, http.MethodPost, "/api/v2/kudos/transfer", in, nil)
}

// A User is who a key belongs to.
type User struct {
	ID          int     `json:"id"`
	Username    string  `json:"username"` // alias: name#number
	Kudos       float64 `json:"kudos"`
	Concurrency int     `json:"concurrency"`
	Trusted     bool    `json:"trusted"`
	Records     struct {
		Fulfillment struct {
			Text  int `json:"text"` // jobs that the user's workers did and that are settled
			Image int `json:"image"`
		} `json:"fulfillment"`
	} `json:"records"`
}

// FindUser tells whose key the client has.
func (c *Client) FindUser(ctx context.Context) (User, error) {
	var u User
	err := c.Do(ctx, http.MethodGet, "/api/v2/find_user", nil, &u)
	return u, err
}

// Heartbeat tells whether the node can serve.
func (c *Client) Heartbeat(ctx context.Context) error {
	return c.Do(ctx, http.MethodGet, "/api/v2/status/heartbeat", nil, nil)
}

// A TestUser is made by the test bootstrap.
type TestUser struct {
	APIKey string      `json:"api_key"`
	ID     json.Number `json:"user_id"`
	Alias  string      `json:"alias"`
}

// CreateTestUser makes or refreshes a trusted account by the test bootstrap, which exists
// only at nodes run with HORDE_TEST_APIKEYS=1, for callers on the same machine.
func (c *Client) CreateTestUser(ctx context.Context, name string, moderator bool, kudos int64) (TestUser, error) {
	in := map[string]any{"username": name, "oauth_id": "bench_" + name, "moderator": moderator, "trusted": true, "kudos": kudos}
	var u TestUser
	err := c.Do(ctx, http.MethodPost, "/api/v2/dev/test-user", in, &u)
	return u, err
}

// SetLimits raises how many jobs a user may have waiting and how many workers it may run;
// the client's key must be a moderator's.
func (c *Client) SetLimits(ctx context.Context, userID string, concurrency, workers int) error {
	in := map[string]any{"concurrency": concurrency, "worker_invited": workers}
	return c.Do(ctx, http.MethodPut, "/api/v2/users/"+userID, in, nil)
}
