package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"hordenode/api/textrule"
	"hordenode/internal/horde"
)

// filterRoutes are the endpoints of prompt filters, for moderators (spec/moderation.md
// section 7).
func (s *Server) filterRoutes() []route {
	return []route{
		{method: "GET", path: "/api/v2/filters", handle: s.listFilters},
		{method: "PUT", path: "/api/v2/filters", handle: s.putFilter, schema: filterSchema(true)},
		{method: "POST", path: "/api/v2/filters", handle: s.tryFilters, body: textBodyMax},
		{method: "GET", path: "/api/v2/filters/regex", handle: s.listFilterRegex},
		{method: "GET", path: "/api/v2/filters/{filter_id}", handle: s.showFilter},
		{method: "PATCH", path: "/api/v2/filters/{filter_id}", handle: s.changeFilter, schema: filterSchema(false)},
		{method: "DELETE", path: "/api/v2/filters/{filter_id}", handle: s.deleteFilter},
	}
}

// compiledFilters keeps the filters compiled until they change.
type compiledFilters struct {
	mu   sync.Mutex // guards the fields below
	from []horde.Filter
	now  *promptFilter
}

// promptFilter is the filters as they are now.
func (s *Server) promptFilter() *promptFilter {
	filters := s.deps.Community.Filters()
	c := &s.filters
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil || !slices.Equal(c.from, filters) {
		c.from, c.now = filters, changedFilter(c.now, filters)
	}
	return c.now
}

const (
	maxFilterText  = 1000 // characters of a description
	maxReplacement = 255  // characters
)

// filterSchema is the body of PUT and PATCH /filters.
func filterSchema(made bool) *schema {
	return object(
		field{"regex", made, text(1, maxFilterRegexp)},
		field{"filter_type", made, whole(10, 29)},
		may("description", text(0, maxFilterText)),
		may("replacement", text(0, maxReplacement)),
	)
}

// filterDetails is a filter as the API shows it, in the API's order.
type filterDetails struct {
	ID          string    `json:"id"`
	Regex       string    `json:"regex"`
	Type        int       `json:"filter_type"`
	Description *string   `json:"description"`
	Replacement string    `json:"replacement"`
	User        string    `json:"user"`               // who changed it last
	Warnings    []warning `json:"warnings,omitempty"` // ours: why it has no effect
}

// filterDetails shows a filter; active tells whether it has an effect.
func (s *Server) filterDetails(f horde.Filter, active *promptFilter) filterDetails {
	editor, _ := s.deps.Accounts.User(f.Editor)
	d := filterDetails{
		ID:          strconv.FormatInt(f.ID, 10),
		Regex:       f.Regex,
		Type:        f.Type,
		Description: orNull(f.Description),
		Replacement: f.Replacement,
		User:        editor.Alias(),
	}
	if why, inert := active.inert[f.ID]; inert {
		d.Warnings = []warning{{"InertFilter", "This filter has no effect: " + why + "."}}
	}
	return d
}

// moderator is the owner of the request's key, who must be a moderator.
func (s *Server) moderator(r *http.Request) (horde.User, error) {
	u, err := s.user(r)
	if err == nil && !u.Is(horde.RoleModerator) {
		err = horde.Refuse(horde.RCNotModerator, "Only moderators can do this.")
	}
	return u, err
}

// A filterQuery is the query string of GET /filters and /filters/regex.
type filterQuery struct {
	kind     int // 0: any
	contains string
}

func (q *filterQuery) read(a *args) {
	a.apikey()
	q.kind = a.queryInt("filter_type", 0)
	q.contains = a.query("contains", "")
}

// listFilters serves GET /api/v2/filters.
func (s *Server) listFilters(w http.ResponseWriter, r *http.Request) error {
	var q filterQuery
	if err := decode(r, &q); err != nil {
		return err
	}
	if _, err := s.moderator(r); err != nil {
		return err
	}
	list, active := []any{}, s.promptFilter()
	for _, f := range s.deps.Community.Filters() {
		if q.kind != 0 && f.Type != q.kind || !strings.Contains(f.Regex, q.contains) && !strings.Contains(f.Description, q.contains) {
			continue
		}
		d, err := sparse(s.filterDetails(f, active))
		if err != nil {
			return err
		}
		list = append(list, d)
	}
	return encode(w, http.StatusOK, list)
}

// filterRequest is the body of PUT and PATCH /filters; nil fields were not sent.
type filterRequest struct {
	regex, description, replacement *string
	kind                            *int
}

func (q *filterRequest) read(a *args) {
	a.apikey()
	q.regex = a.optStr("regex", maxFilterRegexp)
	q.kind = a.optInt("filter_type")
	q.description = a.optStr("description", maxFilterText)
	q.replacement = a.optStr("replacement", maxReplacement)
}

// checkRegex refuses an expression that cannot be run: a filter without effect would be taken
// for one. Those that came from elsewhere, by an import or an older version, are kept, and shown
// with a warning.
func checkRegex(regex *string) error {
	if regex == nil || *regex == "" {
		return nil
	}
	if _, err := textrule.Compile(*regex); err != nil {
		return horde.Refuse(horde.RCBadRequest, "This filter cannot be used: %s.", err)
	}
	return nil
}

// putFilter serves PUT /api/v2/filters.
func (s *Server) putFilter(w http.ResponseWriter, r *http.Request) error {
	var q filterRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	u, err := s.moderator(r)
	switch {
	case err != nil:
		return err
	case bodyOf(r).hasNUL():
		return errNUL()
	}
	if err := checkRegex(q.regex); err != nil {
		return err
	}
	n := NewFilter{Actor: u.ID, Regex: *q.regex, Type: *q.kind}
	if q.description != nil {
		n.Description = *q.description
	}
	if q.replacement != nil {
		n.Replacement = *q.replacement
	}
	f, err := s.deps.Community.PutFilter(r.Context(), n)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, s.filterDetails(f, s.promptFilter()))
}

type promptRequest struct {
	prompt string
	kind   *int
}

func (q *promptRequest) read(a *args) {
	a.apikey()
	q.prompt = a.need("prompt").str("prompt", maxPrompt)
	q.kind = a.optInt("filter_type")
}

// suspicion is what the filters make of a prompt.
type suspicion struct {
	Points  string   `json:"suspicion"`
	Matches []string `json:"matches"`
}

// tryFilters serves POST /api/v2/filters: what would the filters find in a prompt?
func (s *Server) tryFilters(w http.ResponseWriter, r *http.Request) error {
	var q promptRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if _, err := s.moderator(r); err != nil {
		return err
	}
	var points int
	var matches []string
	if q.kind == nil {
		points, matches = s.promptFilter().score(q.prompt)
	} else {
		points, matches = s.promptFilter().scoreType(q.prompt, *q.kind)
	}
	return encode(w, http.StatusOK, suspicion{strconv.Itoa(points), shown(matches)})
}

// filterRegex is the active expressions of one type in one.
type filterRegex struct {
	Type  int    `json:"filter_type"`
	Regex string `json:"regex,omitempty"` // "": there are none
}

// listFilterRegex serves GET /api/v2/filters/regex.
func (s *Server) listFilterRegex(w http.ResponseWriter, r *http.Request) error {
	var q filterQuery
	if err := decode(r, &q); err != nil {
		return err
	}
	if _, err := s.moderator(r); err != nil {
		return err
	}
	list := []filterRegex{}
	for _, kind := range []int{filterSubject, filterSubject2, filterAct} {
		if q.kind == 0 || q.kind == kind {
			regex, _ := s.promptFilter().regex(kind)
			list = append(list, filterRegex{kind, regex})
		}
	}
	return encode(w, http.StatusOK, list)
}

func filterNotFound() error {
	return horde.Refuse(horde.RCFilterNotFound, "There is no such filter.")
}

// filterByPath finds the filter that a path names, for a moderator.
func (s *Server) filterByPath(r *http.Request) (horde.Filter, horde.User, error) {
	u, err := s.moderator(r)
	if err != nil {
		return horde.Filter{}, u, err
	}
	id, err := strconv.ParseInt(r.PathValue("filter_id"), 10, 64)
	if err != nil {
		return horde.Filter{}, u, filterNotFound()
	}
	f, err := seek(r.Context(), s, filterNotFound(), func() (horde.Filter, bool) { return s.deps.Community.Filter(id) })
	return f, u, err
}

// showFilter serves GET /api/v2/filters/{filter_id}.
func (s *Server) showFilter(w http.ResponseWriter, r *http.Request) error {
	if !isDigits(r.PathValue("filter_id")) {
		return filterNotFound()
	}
	f, _, err := s.filterByPath(r)
	if err != nil {
		return err
	}
	d, err := sparse(s.filterDetails(f, s.promptFilter()))
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, d)
}

// changeFilter serves PATCH /api/v2/filters/{filter_id}. What is empty counts as not sent, so
// a replacement cannot be taken away.
func (s *Server) changeFilter(w http.ResponseWriter, r *http.Request) error {
	var q filterRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	f, u, err := s.filterByPath(r)
	switch {
	case err != nil:
		return err
	case bodyOf(r).hasNUL():
		return errNUL()
	}
	if err := checkRegex(q.regex); err != nil {
		return err
	}
	now, err := s.deps.Community.UpdateFilter(r.Context(), FilterChange{
		Actor: u.ID, Filter: f.ID, Regex: q.regex, Type: q.kind, Description: unlessEmpty(q.description), Replacement: unlessEmpty(q.replacement),
	})
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, s.filterDetails(now, s.promptFilter()))
}

// unlessEmpty is nil for an empty text.
func unlessEmpty(s *string) *string {
	if s == nil || *s == "" {
		return nil
	}
	return s
}

// deleteFilter serves DELETE /api/v2/filters/{filter_id}.
func (s *Server) deleteFilter(w http.ResponseWriter, r *http.Request) error {
	f, u, err := s.filterByPath(r)
	if err != nil {
		return err
	}
	if err := s.deps.Community.DeleteFilter(r.Context(), u.ID, f.ID); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}
