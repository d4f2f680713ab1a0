package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	"hordenode/internal/horde"
)

// A hook says who is told of a request's results. It is in the request's Body, and nowhere
// else: neither gossip nor ledger nor logs have it. A worker's node gets the Body with a
// grant and shows the worker its payload only.
type hook struct {
	URL  string       `json:"url"`
	Base string       `json:"base,omitempty"` // of the addresses in the message: where the client reached this node
	User horde.UserID `json:"user,omitempty"` // whose secret signs
}

// newHook returns nil if the order has no webhook.
func (s *Server) newHook(r *http.Request, o *order) *hook {
	if o.webhook == "" {
		return nil
	}
	return &hook{URL: o.webhook, Base: s.baseURL(r), User: o.payer.ID}
}

// imageMessage and textMessage are what a webhook is told (spec/image.md section 10,
// spec/text.md section 8.7).
type imageMessage struct {
	Img        string           `json:"img"`
	Seed       int64            `json:"seed"`
	WorkerID   horde.WorkerID   `json:"worker_id"`
	WorkerName string           `json:"worker_name"`
	Model      string           `json:"model"`
	ID         horde.JobID      `json:"id"`
	Censored   bool             `json:"censored"`
	Metadata   []horde.Metadata `json:"gen_metadata"`
	Request    horde.RequestID  `json:"request"`
	Kudos      float64          `json:"kudos"`
}

type textMessage struct {
	Text       string           `json:"text"`
	Seed       int64            `json:"seed"`
	WorkerID   horde.WorkerID   `json:"worker_id"`
	WorkerName string           `json:"worker_name"`
	Model      string           `json:"model"`
	ID         horde.JobID      `json:"id"`
	State      string           `json:"state"`
	Metadata   []horde.Metadata `json:"gen_metadata"`
	Request    horde.RequestID  `json:"request"`
	Kudos      float64          `json:"kudos"`
}

// formMessage is what a webhook is told of a form (spec/alchemy.md section 7).
type formMessage struct {
	Form       string          `json:"form"`
	State      horde.FormState `json:"state"`
	Result     json.RawMessage `json:"result"` // null: the form has none
	WorkerID   horde.WorkerID  `json:"worker_id"`
	WorkerName string          `json:"worker_name"`
	Request    horde.RequestID `json:"request"`
	ID         horde.JobID     `json:"id"`
	Kudos      float64         `json:"kudos"`
}

// Webhook makes the message that tells a client of a result: where it goes ("" if nobody is
// to be told), whose secret signs it, and what it says. Of q it needs ID, Kind and Body.
func (s *Server) Webhook(ctx context.Context, q *horde.Request, g horde.Generation) (address string, account horde.UserID, message []byte, err error) {
	var to *hook
	var say any
	switch q.Kind {
	case horde.KindImage:
		body, err := decodeImageBody(q.Body)
		if err != nil {
			return "", 0, nil, err
		}
		if to = body.Hook; to == nil {
			return "", 0, nil, nil
		}
		img, err := s.renderImage(ctx, to.Base, g, body.R2)
		if err != nil {
			return "", 0, nil, err
		}
		say = imageMessage{img, g.Seed, g.Worker, g.WorkerName, g.Model, g.ID, g.Censored, nonNil(g.Metadata), q.ID, g.Kudos}
	case horde.KindText:
		body, err := decodeTextBody(q.Body)
		if err != nil {
			return "", 0, nil, err
		}
		if to = body.Hook; to == nil {
			return "", 0, nil, nil
		}
		say = textMessage{string(g.Result), g.Seed, g.Worker, g.WorkerName, g.Model, g.ID, textState(g), nonNil(g.Metadata), q.ID, g.Kudos}
	case horde.KindAlchemy:
		body, err := decodeFormBody(q.Body)
		if err != nil {
			return "", 0, nil, err
		}
		if to = body.Hook; to == nil {
			return "", 0, nil, nil
		}
		result, err := shownResult(g.Result, func() string { return s.blobAddress(to.Base, http.MethodGet, resultName(g.ID)) })
		if err != nil {
			return "", 0, nil, fmt.Errorf("result of form %s: %w", g.ID, err)
		}
		say = formMessage{g.Model, horde.FormDone, result, g.Worker, g.WorkerName, q.ID, g.ID, g.Kudos}
	default:
		return "", 0, nil, nil
	}
	message, err = json.Marshal(say)
	if err != nil {
		return "", 0, nil, fmt.Errorf("encode webhook: %w", err)
	}
	return to.URL, to.User, message, nil
}

// renderImage is the img of a generation: an address below base if the client wants one, else
// the image in base64, and what the worker sent if that is no image.
func (s *Server) renderImage(ctx context.Context, base string, g horde.Generation, asURL bool) (string, error) {
	name, stored := resultBlob(g)
	switch {
	case !stored:
		return string(g.Result), nil
	case asURL:
		return s.blobAddress(base, http.MethodGet, name), nil
	}
	data, err := s.deps.Board.Blob(ctx, name)
	switch {
	case isUnavailable(err):
		return "", err
	case err != nil:
		return "N/A", nil
	}
	return base64.StdEncoding.EncodeToString(data), nil
}

// webhookRoutes serve what receivers of webhooks need.
func (s *Server) webhookRoutes() []route {
	return []route{{method: "GET", path: "/api/fed/v1/webhook/secret", handle: s.webhookSecret}}
}

type webhookSecretAnswer struct {
	Secret string `json:"secret"`
}

// webhookSecret serves GET /api/fed/v1/webhook/secret: what this node signs webhooks about
// the caller's requests with.
func (s *Server) webhookSecret(w http.ResponseWriter, r *http.Request) error {
	u, err := s.user(r)
	switch {
	case err != nil:
		return err
	case u.ID == horde.Anonymous:
		return horde.Refuse(horde.RCAnonForbidden, "Anonymous has no secrets.")
	case s.deps.WebhookSecret == nil:
		return plain(http.StatusNotFound, "This node sends no webhooks.")
	}
	w.Header().Set("Cache-Control", "no-store")
	return encode(w, http.StatusOK, webhookSecretAnswer{s.deps.WebhookSecret(u.ID)})
}
