package api

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hordenode/internal/horde"
)

// Most pages work alike: GET shows, POST does one thing for who is logged in and leads back to
// a page, or shows the page again with what went wrong.

// A shower shows a page, with what its form failed at, if it did.
type shower func(w http.ResponseWriter, r *http.Request, u horde.User, status int, p page) error

// A deed does what a form asks for, and says where to go then.
type deed func(r *http.Request, u horde.User, form url.Values) (to string, err error)

// A gate refuses people whom a page is not for; nil: it is for everybody who is logged in.
type gate func(u horde.User) error

func logInFirst() error { return horde.Refuse(horde.RCInvalidAPIKey, "Please log in first.") }

// shown serves GET of a page for people who are logged in.
func (s *Server) shown(may gate, show shower) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		u, ok, err := s.visitor(r)
		if err != nil {
			return err
		}
		if !ok {
			return seeOther(w, r, "/profile?next="+url.QueryEscape(r.URL.Path))
		}
		if may != nil {
			if err := may(u); err != nil {
				return s.keptOut(w, err)
			}
		}
		return show(w, r, u, http.StatusOK, page{Done: whatWasDone(r)})
	}
}

// done serves POST of such a page.
func (s *Server) done(may gate, show shower, do deed) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		form, err := s.postedForm(r)
		u, ok, verr := s.visitor(r)
		if verr != nil {
			return verr
		}
		if !ok {
			return s.profileAgain(w, r, errOr(err, logInFirst()))
		}
		if may != nil {
			if err := may(u); err != nil {
				return s.keptOut(w, err)
			}
		}
		to := ""
		if err == nil {
			to, err = do(r, u, form)
		}
		var answer *answered
		if errors.As(err, &answer) {
			return show(w, r, u, http.StatusOK, page{Body: answer.body})
		}
		status, text, rest := asRefusal(err)
		switch {
		case rest != nil:
			return rest
		case text != "":
			return show(w, r, u, status, page{Failed: text})
		}
		return seeOther(w, r, to)
	}
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// keptOut shows why a page is not for somebody.
func (s *Server) keptOut(w http.ResponseWriter, err error) error {
	status, text, rest := asRefusal(err)
	if rest != nil {
		return rest
	}
	return s.render(w, status, "sorry", page{Title: "Sorry", Failed: text})
}

// whatWasDone is what a page says was done: the address names it, so that it can say nothing else.
func whatWasDone(r *http.Request) string {
	return map[string]string{
		"saved":    "Saved.",
		"made":     "Done.",
		"deleted":  "Deleted.",
		"linked":   "Your login was linked. From now on you can log in with it.",
		"unlinked": "Your login was unlinked. From now on you log in with your API key only.",
		"gone":     "Your account is deleted. You have 30 days to change your mind.",
		"back":     "Your account is back.",
		"posted":   "The message was sent.",
		"blocked":  "Blocked.",
		"freed":    "The block was lifted.",
		"undone":   "Undone.",
	}[r.URL.Query().Get("told")]
}

// fields reads a form. The first thing that is wrong with it is kept in err.
type fields struct {
	form url.Values
	err  error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = horde.Refuse(horde.RCBadRequest, format, args...)
	}
}

// text is a field of at most so many characters.
func (f *fields) text(name, title string, most int) string {
	v := strings.ReplaceAll(strings.TrimSpace(f.form.Get(name)), "\r\n", "\n")
	if len([]rune(v)) > most {
		f.fail("%s has %d characters at most.", title, most)
	}
	if strings.ContainsRune(v, 0) {
		f.fail("%s has a character that cannot be kept.", title)
	}
	return v
}

// number is a whole number in a range; empty is the one given.
func (f *fields) number(name, title string, empty, least, most int64) int64 {
	v := strings.TrimSpace(f.form.Get(name))
	if v == "" {
		return empty
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > most {
		f.fail("%s is a whole number from %d to %d.", title, least, most)
	}
	return n
}

// on tells whether a box is ticked.
func (f *fields) on(name string) bool { return f.form.Get(name) != "" }

// want refuses a form unless its box for being sure is ticked.
func (f *fields) want(name, what string) {
	if !f.on(name) {
		f.fail("Please tick the box: %s", what)
	}
}

// csrf is the token for the forms of a page.
func (s *Server) csrf(w http.ResponseWriter, r *http.Request) (string, error) {
	return s.formToken(w, r, s.cookie(r, sessionCookie))
}
