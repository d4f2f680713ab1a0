package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"net/http"
	"slices"
	"strings"

	"hordenode/internal/horde"
)

// submitRequest is what the submits of both kinds have in common.
type submitRequest struct {
	id         string
	generation string
	state      string
	seed       int64
	metadata   []horde.Metadata
}

func (q *submitRequest) read(a *args) {
	a.apikey()
	q.id = a.need("id").str("id", maxAny)
	q.generation = a.need("generation").str("generation", maxImage)
	q.state = "ok"
	if st := a.str("state", 20); st != "" {
		q.state = st
	}
	q.seed = a.integer("seed", 0)
	for _, m := range a.objects("gen_metadata") {
		q.metadata = append(q.metadata, horde.Metadata{
			Type:  m.str("type", 50),
			Value: m.str("value", 50),
			Ref:   strings.ReplaceAll(m.str("ref", 255), "\x00", "\uFFFD"),
		})
	}
}

// failed tells that there is no result. An image's metadata outweighs its state: what was
// censored is delivered, even if it is called faulted as well (spec/image.md 7.2 U5).
func (q *submitRequest) failed(kind horde.Kind) bool {
	censored := slices.ContainsFunc(q.metadata, func(m horde.Metadata) bool { return m.Type == "censorship" })
	return q.state == "faulted" && !(kind == horde.KindImage && censored)
}

// maxMetadata is how many metadata entries a result can have.
const maxMetadata = 50

// submission checks the form of a submit and who sends it. Whether the job is open and the
// worker the sender's is the home's to say.
func (s *Server) submission(r *http.Request, q *submitRequest) (horde.Submission, error) {
	u, err := horde.ParseUUID(q.id)
	if err != nil {
		return horde.Submission{}, noSuchJob(truncate(q.id, 40))
	}
	user, err := s.user(r)
	if err != nil {
		return horde.Submission{}, err
	}
	if len(q.metadata) > maxMetadata {
		return horde.Submission{}, horde.Refuse(horde.RCBadRequest, "A result can have %d metadata entries at most.", maxMetadata)
	}
	return horde.Submission{
		Job:      horde.JobID{UUID: u},
		By:       user.ID,
		State:    q.state,
		Seed:     q.seed,
		Metadata: q.metadata,
	}, nil
}

// noSuchJob uses words that a popular worker matches on.
func noSuchJob(id string) error {
	return horde.Refuse(horde.RCInvalidJobID, "Processing Job with ID %s does not exist.", id)
}

type submitAnswer struct {
	Reward float64 `json:"reward"`
}

// imageSubmit serves POST /api/v2/generate/submit.
func (s *Server) imageSubmit(w http.ResponseWriter, r *http.Request) error {
	var q submitRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	sub, err := s.submission(r, &q)
	if err != nil {
		return err
	}
	if !q.failed(horde.KindImage) {
		if sub.Result, err = s.submittedImage(r.Context(), sub.Job, q.generation); err != nil {
			return err
		}
	}
	return s.submit(w, r, sub)
}

// submit delivers a result and tells the reward.
func (s *Server) submit(w http.ResponseWriter, r *http.Request, sub horde.Submission) error {
	receipt, err := s.deps.Board.Submit(r.Context(), sub)
	if errors.Is(err, horde.RCInvalidJobID) {
		return noSuchJob(sub.Job.String())
	}
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, submitAnswer{receipt.Reward})
}

// maxRawResult bounds a result that is no image; it is shown to the client as it is.
const maxRawResult = 64 << 10

// submittedImage returns what is kept as the result of an image job. An image that came with
// the submit is stored first, under a name made of its content: a submit that is refused
// afterwards has replaced nothing.
func (s *Server) submittedImage(ctx context.Context, job horde.JobID, sent string) ([]byte, error) {
	if sent == storedResult {
		return []byte(storedResult), nil
	}
	data, err := decodeBase64(sent)
	if err == nil {
		_, _, err = image.DecodeConfig(bytes.NewReader(data))
	}
	if err != nil {
		if len(sent) > maxRawResult {
			return nil, horde.Refuse(horde.RCBadRequest, "The generation is not an image in base64.")
		}
		return []byte(strings.ReplaceAll(sent, "\x00", "\uFFFD")), nil
	}
	sum := sha256.Sum256(data)
	suffix := hex.EncodeToString(sum[:8])
	err = s.deps.Board.PutBlob(ctx, inlineName(job, suffix), data)
	if errors.Is(err, horde.RCInvalidJobID) || errors.Is(err, horde.RCRequestNotFound) {
		return nil, noSuchJob(job.String())
	}
	return []byte(storedResult + "/" + suffix), err
}
