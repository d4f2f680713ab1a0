package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"hordenode/internal/horde"
)

// imagePop serves POST /api/v2/generate/pop.
func (s *Server) imagePop(w http.ResponseWriter, r *http.Request) error {
	var q imagePopRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	res, err := s.pop(r, horde.KindImage, q.popRequest)
	if err != nil {
		return err
	}
	answer := newImagePopAnswer()
	answer.Messages = s.popMessages(res.Worker.ID)
	if res.Grant == nil {
		maps.Copy(answer.Skipped, imageSkips(res.Skipped))
		return encode(w, http.StatusOK, answer)
	}
	if err := s.fillImagePop(r, &answer, res.Grant, q.caps.BridgeAgent); err != nil {
		return err
	}
	return encode(w, http.StatusOK, answer)
}

// popRequest is what the pops of all kinds have in common.
type popRequest struct {
	name     string
	priority []string
	amount   int
	caps     horde.Caps
}

func (q *popRequest) read(a *args) {
	a.apikey()
	q.name = sanitize(truncate(a.need("name").str("name", maxAny), maxWorkerName))
	q.priority = a.strs("priority_usernames", 1000)
	q.caps.NSFW = a.flag("nsfw", true)
	q.caps.Models = a.strs("models", 10_000)
	q.caps.BridgeAgent = sanitize(a.str("bridge_agent", 1000))
	if q.caps.BridgeAgent == "" {
		q.caps.BridgeAgent = "unknown:0:unknown"
	}
	q.caps.Threads = int(a.integer("threads", 1))
	q.amount = int(a.integer("amount", 1))
}

type imagePopRequest struct{ popRequest }

// maxWorkerName is how many characters of a worker's name count.
const maxWorkerName = 100

func (q *imagePopRequest) read(a *args) {
	q.popRequest.read(a)
	c := &q.caps
	c.RequireUpfront = a.flag("require_upfront_kudos", false)
	c.ExtraSlow = a.flag("extra_slow_worker", false)
	c.MaxPixels = a.integer("max_pixels", 512*512)
	c.Img2Img = a.flag("allow_img2img", true)
	c.Painting = a.flag("allow_painting", true)
	c.UnsafeIP = a.flag("allow_unsafe_ipaddr", true)
	c.PostProcessing = a.flag("allow_post_processing", true)
	c.ControlNet = a.flag("allow_controlnet", false)
	c.SDXLControlNet = a.flag("allow_sdxl_controlnet", false)
	c.LoRA = a.flag("allow_lora", false)
	c.LimitMaxSteps = a.flag("limit_max_steps", false)
	c.Blacklist = a.strs("blacklist", 10_000)
}

// pop checks who asks (spec/moderation.md section 10, rows 1 to 5) and asks the board, which
// knows the worker.
func (s *Server) pop(r *http.Request, kind horde.Kind, q popRequest) (horde.PopResult, error) {
	none := horde.PopResult{}
	var priority []horde.UserID
	for _, name := range q.priority {
		id, ok := horde.ParseAlias(name)
		if !ok || !strings.Contains(name, "#") {
			return none, horde.Refuse(horde.RCInvalidPriorityUsername, "priority_usernames must be given in full, with # and number.")
		}
		priority = append(priority, id)
	}
	u, err := s.user(r)
	if err != nil {
		return none, err
	}
	if err := s.barredWorker(u); err != nil {
		return none, err
	}
	ip := s.clientIP(r)
	if until, out := s.timedOut(ip); out {
		return none, timeoutIP(until.Sub(s.now()))
	}
	unsafe, err := s.checkUnsafeWorker(r.Context(), u, ip)
	if err != nil {
		return none, err
	}
	if err := s.newWorkerAllowed(&q); err != nil {
		return none, err
	}
	res, err := s.popLater(r, horde.Pop{
		User:     u,
		Kind:     kind,
		Name:     q.name,
		Caps:     q.caps,
		Amount:   q.amount,
		Priority: priority,
		IP:       ip.String(),
	})
	if err == nil {
		s.deps.Addresses.Saw(res.Worker.ID, ip)
		if unsafe && res.Worker.Suspicion == 0 {
			s.suspectUnsafe(r.Context(), res.Worker.ID)
		}
	}
	return res, err
}

// imagePopAnswer always has all its members; those without value are null.
type imagePopAnswer struct {
	Payload    imagePayload   `json:"payload"`
	ID         *horde.JobID   `json:"id"`
	IDs        []horde.JobID  `json:"ids"`
	Skipped    map[string]int `json:"skipped"`
	Model      *string        `json:"model"`
	Source     *string        `json:"source_image"`
	Processing string         `json:"source_processing"`
	Mask       *string        `json:"source_mask"`
	Extras     []extraImage   `json:"extra_source_images"` // null if none
	Upload     *string        `json:"r2_upload"`
	Uploads    []string       `json:"r2_uploads"` // null without a job
	TTL        *int           `json:"ttl"`
	Messages   []popMessage   `json:"messages"`
}

type extraImage struct {
	Image    string  `json:"image"`
	Strength float64 `json:"strength"`
}

// newImagePopAnswer is the answer without a job.
func newImagePopAnswer() imagePopAnswer {
	return imagePopAnswer{
		Payload:    emptyImagePayload(),
		IDs:        []horde.JobID{},
		Skipped:    map[string]int{},
		Processing: "img2img",
		Messages:   []popMessage{},
	}
}

// imageSkips are the reasons why an image worker got nothing: some are always told.
func imageSkips(found map[string]int) map[string]int {
	out := map[string]int{
		"models": 0, "worker_id": 0, "img2img": 0, "painting": 0, "unsafe_ip": 0, "nsfw": 0, "lora": 0,
		"post-processing": 0, "controlnet": 0, "performance": 0, "untrusted": 0, "bridge_version": 0,
	}
	maps.Copy(out, textSkips(found))
	return out
}

// textSkips are the reasons without zeros and without those that workers do not learn: that
// they are in maintenance, or that a paused one was given this request before.
func textSkips(found map[string]int) map[string]int {
	out := map[string]int{}
	for reason, n := range found {
		if n > 0 && reason != "" && reason != "secret" && reason != "maintenance" {
			out[reason] = n
		}
	}
	return out
}

// fillImagePop renders granted jobs for their worker.
func (s *Server) fillImagePop(r *http.Request, answer *imagePopAnswer, g *horde.Grant, agent string) error {
	if len(g.Jobs) == 0 {
		return fmt.Errorf("grant of request %s has no jobs", g.Request)
	}
	body, err := decodeImageBody(g.Body)
	if err != nil {
		return err
	}
	answer.Payload = body.Payload
	answer.Payload.N = len(g.Jobs)
	answer.Payload.Seed = body.seedOf(g.Remaining, s.cfg.Rand)
	if g.Model == betaModel {
		if answer.Payload.Special, err = betaPipeline(g); err != nil {
			return err
		}
	}
	answer.ID, answer.IDs = &g.Jobs[0], g.Jobs
	answer.Model, answer.TTL = &g.Model, &g.TTL
	for _, job := range g.Jobs {
		answer.Uploads = append(answer.Uploads, s.blobURL(r, http.MethodPut, resultName(job)))
	}
	answer.Upload = &answer.Uploads[0]
	asURL := takesURLs(agent)
	if body.Source != "" {
		answer.Processing = body.Method
		answer.Source = s.renderSource(r, body.Source, asURL)
	}
	if body.Mask != "" {
		answer.Mask = s.renderSource(r, body.Mask, asURL)
	}
	for _, e := range body.Extras {
		answer.Extras = append(answer.Extras, extraImage{*s.renderSource(r, e.Blob, true), e.Strength})
	}
	return nil
}

// betaPipeline is what the workers of the model that compares itself get for a special: the
// two images of a request are made by different pipelines (spec/image.md section 5.5).
func betaPipeline(g *horde.Grant) (json.RawMessage, error) {
	name := "pipeline" + strconv.Itoa(2-g.Remaining)
	raw, err := json.Marshal(struct {
		Model string          `json:"model_name"`
		Pair  horde.RequestID `json:"pair_id"`
		Comfy string          `json:"comfy_pipeline"`
	}{name, g.Request, name + ".json"})
	if err != nil {
		return nil, fmt.Errorf("encode the pipeline: %w", err)
	}
	return raw, nil
}

// renderSource is a source image as its worker takes it: an address, or base64. The jobs
// are handed out already, so an image that cannot be read is no reason to fail: the worker
// gets its address and may have more luck, or tell that it had not.
func (s *Server) renderSource(r *http.Request, name string, asURL bool) *string {
	text := s.blobURL(r, http.MethodGet, name)
	if asURL {
		return &text
	}
	data, err := s.deps.Board.Blob(r.Context(), name)
	if err != nil {
		s.log.WarnContext(r.Context(), "source image not readable", "blob", name, "err", err)
		return &text
	}
	text = base64.StdEncoding.EncodeToString(data)
	return &text
}

// takesURLs tells whether a worker's software downloads source images: the capability
// r2_source of spec/image.md section 5.3.3.
func takesURLs(agent string) bool {
	name, rest, _ := strings.Cut(agent, ":")
	version, _, _ := strings.Cut(rest, ":")
	switch name {
	case "AI Horde Worker reGen":
		return major(version) >= 1
	case "AI Horde Worker":
		return major(version) >= 14
	case "SD-WebUI Stable Horde Worker Bridge":
		return major(version) >= 3
	}
	return false
}

// major is the first number of a version, 0 if there is none.
func major(version string) int {
	n := 0
	for _, c := range version {
		if c < '0' || c > '9' || n > 1<<20 {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
