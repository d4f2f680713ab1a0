package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// modFilters is what the page of filters shows.
type modFilters struct {
	CSRF  string
	Lines []filterLine
	Edit  filterLine // what the form begins with
	Types []int
	Try   string
	Found string // what the filters make of Try; "": nothing was tried
}

type filterLine struct {
	ID                              int64
	Regex, Description, Replacement string
	Type                            int
	Editor                          string
	Inert                           string // why it has no effect
}

func (s *Server) renderModFilters(w http.ResponseWriter, r *http.Request, _ horde.User, status int, p page) error {
	d := modFilters{Edit: filterLine{Type: filterSubject}}
	a := &args{r: r}
	edit := int64(a.queryInt("edit", 0))
	active := s.promptFilter()
	for _, f := range s.deps.Community.Filters() {
		v := s.filterDetails(f, active)
		l := filterLine{ID: f.ID, Regex: f.Regex, Description: f.Description, Replacement: f.Replacement, Type: f.Type, Editor: v.User, Inert: active.inert[f.ID]}
		d.Lines = append(d.Lines, l)
		if f.ID == edit {
			d.Edit = l
		}
	}
	for n := 10; n <= 29; n++ {
		d.Types = append(d.Types, n)
	}
	if found, ok := p.Body.(tried); ok {
		d.Try, d.Found = found.prompt, found.what
	}
	var err error
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = "Filters", "/moderation/filters", d
	return s.render(w, status, "modfilters", p)
}

// tried is a prompt and what the filters made of it.
type tried struct{ prompt, what string }

func (s *Server) modSaveFilter(r *http.Request, u horde.User, form url.Values) (string, error) {
	f := &fields{form: form}
	id := f.number("id", "The id", 0, 0, 1<<53)
	regex := f.text("regex", "The expression", maxFilterRegexp)
	kind := int(f.number("filter_type", "The type", filterSubject, 10, 29))
	about, with := f.text("description", "The description", maxFilterText), f.text("replacement", "The replacement", maxReplacement)
	if regex == "" {
		f.fail("Please give an expression.")
	}
	if f.err != nil {
		return "", f.err
	}
	var err error
	if id == 0 {
		_, err = s.deps.Community.PutFilter(r.Context(), NewFilter{Actor: u.ID, Regex: regex, Type: kind, Description: about, Replacement: with})
	} else {
		_, err = s.deps.Community.UpdateFilter(r.Context(), FilterChange{
			Actor: u.ID, Filter: id, Regex: &regex, Type: &kind, Description: unlessEmpty(&about), Replacement: unlessEmpty(&with),
		})
	}
	return "/moderation/filters?told=saved", err
}

func (s *Server) modDropFilter(r *http.Request, u horde.User, form url.Values) (string, error) {
	id, err := strconv.ParseInt(form.Get("id"), 10, 64)
	if err != nil {
		return "", filterNotFound()
	}
	return "/moderation/filters?told=deleted", s.deps.Community.DeleteFilter(r.Context(), u.ID, id)
}

// modTryFilter tells what the filters make of a prompt. The prompt is in the form's answer
// only, never in an address.
func (s *Server) modTryFilter(_ *http.Request, _ horde.User, form url.Values) (string, error) {
	f := &fields{form: form}
	prompt := f.text("prompt", "The prompt", 2000)
	if f.err != nil {
		return "", f.err
	}
	points, matches := s.promptFilter().score(prompt)
	what := "Suspicion: " + strconv.Itoa(points) + "."
	if found := shown(matches); len(found) > 0 {
		what += " Found: " + strings.Join(found, ", ")
	}
	return "", &answered{tried{prompt, what}}
}

// answered is what a deed returns when the page itself has the answer.
type answered struct{ body any }

// Error is never shown.
func (*answered) Error() string { return "the page has the answer" }

// modMessages is what the page of messages shows.
type modMessages struct {
	CSRF   string
	Worker string // who it goes to, if the address names one
	Lines  []messageLine
}

type messageLine struct {
	ID, Text, Origin, By string
	Worker, WorkerID     string
	Expires              string
	Ended                bool
}

func (s *Server) renderModMessages(w http.ResponseWriter, r *http.Request, _ horde.User, status int, p page) error {
	d := modMessages{Worker: truncate(r.URL.Query().Get("worker"), 40)}
	for _, m := range s.deps.Community.Messages() {
		by, _ := s.deps.Accounts.User(m.User)
		l := messageLine{ID: m.ID.String(), Text: m.Message, Origin: m.Origin, By: by.Alias(), Expires: m.Expires.UTC().Format("2006-01-02 15:04"), Ended: !s.now().Before(m.Expires)}
		if !m.Worker.IsZero() {
			l.WorkerID, l.Worker = m.Worker.String(), "a worker that is gone"
			if k, ok := s.deps.Accounts.Worker(m.Worker); ok {
				l.Worker = k.Name
			}
		}
		d.Lines = append([]messageLine{l}, d.Lines...)
		if len(d.Lines) > 200 {
			d.Lines = d.Lines[:200]
		}
	}
	var err error
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = "Messages", "/moderation/messages", d
	return s.render(w, status, "modmessages", p)
}

func (s *Server) modPostMessage(r *http.Request, u horde.User, form url.Values) (string, error) {
	f := &fields{form: form}
	n := NewMessage{Actor: u.ID, Message: f.text("message", "The message", 2000), Origin: f.text("origin", "The sender", maxOrigin)}
	n.Expires = s.now().Add(time.Duration(f.number("hours", "The time", 12, 1, 720)) * time.Hour)
	if n.Message == "" {
		f.fail("Please write a message.")
	}
	if f.err != nil {
		return "", f.err
	}
	n.Message, n.Origin = cleanText(n.Message), cleanText(n.Origin)
	if to := strings.TrimSpace(form.Get("worker")); to != "" {
		found := s.findWorkers(to)
		if len(found) != 1 {
			return "", workerNotFound()
		}
		n.Worker = found[0].ID
	}
	_, err := s.deps.Community.PostMessage(r.Context(), n)
	return "/moderation/messages?told=posted", err
}

func (s *Server) modDropMessage(r *http.Request, u horde.User, form url.Values) (string, error) {
	id, err := horde.ParseUUID(form.Get("id"))
	if err != nil {
		return "", horde.Refuse(horde.RCBadRequest, "There is no such message.")
	}
	return "/moderation/messages?told=deleted", s.deps.Community.DeleteMessage(r.Context(), u.ID, horde.MessageID{UUID: id})
}
