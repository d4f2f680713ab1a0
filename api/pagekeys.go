package api

import (
	"net/http"
	"net/url"
	"time"

	"hordenode/internal/horde"
)

// keysPage is what the page of shared keys shows.
type keysPage struct {
	CSRF string
	Keys []keyLine
}

// A keyLine is a shared key in a list.
type keyLine struct {
	ID, Name string
	Left     string // kudos, or that there is no limit
	Used     float64
	Expires  string
	Ended    bool
	Styles   int
	Caps     string
}

func (s *Server) keyRoutes(post func(string, func(http.ResponseWriter, *http.Request) error) route) []route {
	return []route{
		{method: "GET", path: "/profile/keys", handle: s.shown(nil, s.renderKeys), unmasked: true},
		post("/profile/keys", s.done(nil, s.renderKeys, s.makeKey)),
		post("/profile/keys/delete", s.done(nil, s.renderKeys, s.dropKey)),
	}
}

func (s *Server) renderKeys(w http.ResponseWriter, r *http.Request, u horde.User, status int, p page) error {
	d := keysPage{}
	ids, err := s.sharedKeysOf(u.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if k, ok := s.deps.Community.SharedKey(id); ok {
			d.Keys = append(d.Keys, s.keyLine(k))
		}
	}
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Script, p.Body = "Shared keys", "/profile", true, d
	return s.render(w, status, "keys", p)
}

func (s *Server) keyLine(k horde.SharedKey) keyLine {
	l := keyLine{ID: k.ID.String(), Name: k.Name, Left: "no limit", Used: kudosFloat(k.Utilized), Expires: "never", Ended: k.Valid(s.now()) != "", Styles: k.Styles}
	if k.Kudos != horde.Unlimited {
		l.Left = groupedFloat(kudosFloat(k.Kudos))
	}
	if !k.Expires.IsZero() {
		l.Expires = k.Expires.UTC().Format("2006-01-02 15:04")
	}
	for _, c := range []struct {
		n    int
		unit string
	}{{k.MaxImagePixels, "pixels"}, {k.MaxImageSteps, "steps"}, {k.MaxTextTokens, "tokens"}} {
		if c.n >= 0 {
			if l.Caps != "" {
				l.Caps += ", "
			}
			l.Caps += grouped(int64(c.n)) + " " + c.unit
		}
	}
	return l
}

func (s *Server) makeKey(r *http.Request, u horde.User, form url.Values) (string, error) {
	f := &fields{form: form}
	n := NewSharedKey{Owner: u.ID, Name: f.text("name", "The name", 255)}
	if kudos := f.number("kudos", "The limit", -1, 1, most); kudos < 0 {
		n.Kudos = horde.Unlimited
	} else {
		n.Kudos = horde.Whole(kudos)
	}
	if days := f.number("days", "The time", 0, 1, maxDays); days > 0 {
		n.Expires = s.now().Add(time.Duration(days) * 24 * time.Hour)
	}
	n.MaxImagePixels = int(f.number("pixels", "The largest image", -1, 0, 1<<31-1))
	n.MaxImageSteps = int(f.number("steps", "The most steps", -1, 0, 1<<31-1))
	n.MaxTextTokens = int(f.number("tokens", "The longest text", -1, 0, 1<<31-1))
	if f.err != nil {
		return "", f.err
	}
	_, err := s.deps.Community.CreateSharedKey(r.Context(), n)
	return "/profile/keys?told=made", err
}

func (s *Server) dropKey(r *http.Request, u horde.User, form url.Values) (string, error) {
	k, err := s.sharedKeyByID(r.Context(), form.Get("id"))
	if err != nil {
		return "", err
	}
	return "/profile/keys?told=deleted", s.deps.Community.DeleteSharedKey(r.Context(), u.ID, k.ID)
}
