package api

import (
	"cmp"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"hordenode/internal/horde"
)

func (s *Server) statusRoutes() []route {
	return []route{
		{method: "GET", path: "/api/v2/status/heartbeat", handle: s.heartbeat, limits: exempt(), unmasked: true},
		{method: "GET", path: "/api/v2/status/performance", handle: s.performance},
		{method: "GET", path: "/api/v2/status/models", handle: s.listModels},
		{method: "GET", path: "/api/v2/status/models/{model_name}", handle: s.showModel},
		{method: "GET", path: "/api/v2/status/news", handle: s.news},
		{method: "GET", path: "/api/v2/stats/img/totals", handle: s.imageTotals},
		{method: "GET", path: "/api/v2/stats/img/models", handle: s.imageModelCounts},
		{method: "GET", path: "/api/v2/stats/text/totals", handle: s.textTotals},
		{method: "GET", path: "/api/v2/stats/text/models", handle: s.textModelCounts},
		{method: "GET", path: "/api/v2/documents/{name}", handle: s.document},
	}
}

// compatible is the version of the reference whose API this is: clients tell by it what they
// may ask for. The node's own version is in the Horde-Node header.
const compatible = "5.1.5"

// heartbeat serves GET /api/v2/status/heartbeat: this node answers. Whether it is of use is
// for the operator's health endpoint to say. Nothing queues here and there is no pool of
// threads; the reference's usual number stands in for it.
func (s *Server) heartbeat(w http.ResponseWriter, _ *http.Request) error {
	return encode(w, http.StatusOK, struct {
		Message string `json:"message"`
		Version string `json:"version"`
		Queue   int    `json:"queue"`
		Threads int    `json:"threads"`
		Active  int    `json:"active_count"`
		DB      bool   `json:"db_connection"`
	}{"OK", compatible, 0, 45, 0, true})
}

// performance serves GET /api/v2/status/performance.
func (s *Server) performance(w http.ResponseWriter, _ *http.Request) error {
	p := s.deps.Board.Performance()
	return encode(w, http.StatusOK, struct {
		QueuedRequests     int     `json:"queued_requests"`
		QueuedTextRequests int     `json:"queued_text_requests"`
		Workers            int     `json:"worker_count"`
		TextWorkers        int     `json:"text_worker_count"`
		AlchemyWorkers     int     `json:"interrogator_count"`
		Threads            int     `json:"thread_count"`
		TextThreads        int     `json:"text_thread_count"`
		AlchemyThreads     int     `json:"interrogator_thread_count"`
		QueuedWork         float64 `json:"queued_megapixelsteps"`
		PastMinuteWork     float64 `json:"past_minute_megapixelsteps"`
		QueuedForms        float64 `json:"queued_forms"`
		QueuedTokens       float64 `json:"queued_tokens"`
		PastMinuteTokens   float64 `json:"past_minute_tokens"`
	}{
		p.QueuedRequests, p.QueuedTextRequests,
		p.Workers, p.TextWorkers, p.AlchemyWorkers,
		p.Threads, p.TextThreads, p.AlchemyThreads,
		megapixelsteps(p.QueuedPixelsteps), megapixelsteps(p.PastMinutePixelsteps),
		float64(p.QueuedForms), float64(p.QueuedTokens), float64(p.PastMinuteTokens),
	})
}

// megapixelsteps shows pixelsteps with two decimals of a million.
func megapixelsteps(raw int64) float64 { return math.Round(float64(raw)/10_000) / 100 }

// modelStatus is one entry of /status/models.
type modelStatus struct {
	Name        string  `json:"name"`
	Count       int     `json:"count"`
	Performance float64 `json:"performance"`
	Queued      float64 `json:"queued"`
	Jobs        float64 `json:"jobs"`
	ETA         int     `json:"eta"`
	Type        string  `json:"type"`
}

func newModelStatus(m horde.ModelStatus) modelStatus {
	return modelStatus{
		Name: m.Name, Count: m.Count, Performance: math.Round(m.Performance*10) / 10,
		Queued: float64(m.Queued), Jobs: float64(m.Jobs), ETA: m.ETA, Type: m.Kind.String(),
	}
}

// special marks models that belong to a user and are hidden from lists.
const special = "horde_special"

// listModels serves GET /api/v2/status/models.
func (s *Server) listModels(w http.ResponseWriter, r *http.Request) error {
	a := &args{r: r}
	least, mostCount := a.queryInt("min_count", 0), a.queryInt("max_count", math.MaxInt)
	keep, err := s.modelFilter(a.query("model_state", "all"))
	if err = cmp.Or(a.err, err); err != nil {
		return err
	}
	list := []modelStatus{}
	kind, ok := kindOf(a.query("type", "image"))
	if ok {
		for _, m := range s.deps.Live.Models(kind) {
			if m.Count >= least && m.Count <= mostCount && keep(kind, m.Name) && !strings.Contains(m.Name, special) {
				list = append(list, newModelStatus(m))
			}
		}
	}
	return encode(w, http.StatusOK, list)
}

// kindOf reads the kinds that have models.
func kindOf(word string) (horde.Kind, bool) {
	switch word {
	case "image":
		return horde.KindImage, true
	case "text":
		return horde.KindText, true
	}
	return 0, false
}

// modelFilter tells models by whether the references have them.
func (s *Server) modelFilter(state string) (keep func(horde.Kind, string) bool, err error) {
	switch state {
	case "all":
		return func(horde.Kind, string) bool { return true }, nil
	case "known":
		return s.deps.Models.Known, nil
	case "custom":
		return func(k horde.Kind, name string) bool { return !s.deps.Models.Known(k, name) }, nil
	}
	return nil, horde.Refuse(horde.RCBadRequest, "model_state is one of known, custom and all.")
}

// showModel serves GET /api/v2/status/models/{model_name}: a list of one entry or none. The
// name was decoded once by the router; text models hold a slash, so clients encode twice.
// Models that no reference has are not told.
func (s *Server) showModel(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("model_name")
	if decoded, err := url.PathUnescape(name); err == nil {
		name = decoded
	}
	list := []modelStatus{}
	for _, kind := range []horde.Kind{horde.KindImage, horde.KindText} {
		if !s.deps.Models.Known(kind, name) && !strings.Contains(name, special) {
			continue
		}
		models := s.deps.Live.Models(kind)
		if i := slices.IndexFunc(models, func(m horde.ModelStatus) bool { return m.Name == name }); i >= 0 {
			list = append(list, newModelStatus(models[i]))
			break
		}
	}
	return encode(w, http.StatusOK, list)
}

// newsItem is one entry of /status/news.
type newsItem struct {
	Date       string   `json:"date_published"`
	Text       string   `json:"newspiece"` // markdown
	Importance string   `json:"importance"`
	Tags       []string `json:"tags"`
	Title      string   `json:"title"`
	URLs       []string `json:"more_info_urls"`
}

// news serves GET /api/v2/status/news: what the operator wrote, or the built-in piece.
func (s *Server) news(w http.ResponseWriter, _ *http.Request) error {
	items, err := s.newsItems()
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, items)
}
