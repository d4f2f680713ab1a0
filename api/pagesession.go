package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"hordenode/internal/horde"
)

// Two cookies, both out of the reach of scripts and of other sites:
//
//	hordenode_session   who is logged in, sealed with the node's secret
//	hordenode_form      a number that ties the tokens of forms to a browser
//
// A token is a MAC over both, so that no other site, and no other browser, can send a form in
// the name of this one. The API itself never looks at a cookie.
const (
	sessionCookie = "hordenode_session"
	formCookie    = "hordenode_form"
	sessionTime   = 12 * time.Hour
	maxCookie     = 1024 // bytes read
)

// setCookie leaves a cookie that ends with the browser's session; an empty value removes it.
func (s *Server) setCookie(w http.ResponseWriter, r *http.Request, name, value string) {
	secure := s.isSecure(r)
	c := &http.Cookie{
		Name: cookieName(name, secure), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: secure,
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func (s *Server) isSecure(r *http.Request) bool { return strings.HasPrefix(s.baseURL(r), "https://") }

// cookieName is what browsers call a cookie. Under https the prefix keeps sites of sibling
// names, and whoever can answer for them without it, from planting one.
func cookieName(name string, secure bool) string {
	if secure {
		return "__Host-" + name
	}
	return name
}

func (s *Server) cookie(r *http.Request, name string) string {
	c, err := r.Cookie(cookieName(name, s.isSecure(r)))
	if err != nil || len(c.Value) > maxCookie {
		return ""
	}
	return c.Value
}

// A session is who is logged in, and how: by an API key or by a login elsewhere.
//
//	ends (8 bytes) | began (8) | 'K' | API key
//	ends (8 bytes) | began (8) | 'L' | user id (8) | mark of the key (16)
//
// Both end when the key is replaced, that by a login also when the login is unlinked. began is when the person was last known to be there.
type session struct {
	ends, began time.Time
	key         horde.APIKey // "": by a login
	user        horde.UserID // by a login
	mark        [16]byte     // likewise
}

func (c *session) open() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.ends.Unix()))
	b = binary.BigEndian.AppendUint64(b, uint64(c.began.Unix()))
	if c.key != "" {
		return append(append(b, 'K'), c.key...)
	}
	b = binary.BigEndian.AppendUint64(append(b, 'L'), uint64(c.user))
	return append(b, c.mark[:]...)
}

// readSession reads what open wrote.
func readSession(b []byte) (c session, ok bool) {
	if len(b) < 18 {
		return c, false
	}
	c.ends = time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	c.began = time.Unix(int64(binary.BigEndian.Uint64(b[8:])), 0)
	rest := b[17:]
	switch {
	case b[16] == 'K':
		c.key = horde.APIKey(rest)
	case b[16] == 'L' && len(rest) == 24:
		c.user, c.mark = horde.UserID(binary.BigEndian.Uint64(rest)), [16]byte(rest[8:])
	default:
		return c, false
	}
	return c, true
}

// startSession logs a browser in by its API key. It returns the cookie's value.
func (s *Server) startSession(w http.ResponseWriter, r *http.Request, key horde.APIKey) (string, error) {
	return s.beginSession(w, r, session{key: key})
}

// startLoginSession logs a browser in that comes from a provider.
func (s *Server) startLoginSession(w http.ResponseWriter, r *http.Request, id horde.UserID) (string, error) {
	return s.beginSession(w, r, session{user: id, mark: s.deps.Logins.KeyMark(id)})
}

func (s *Server) beginSession(w http.ResponseWriter, r *http.Request, c session) (string, error) {
	c.began = s.now()
	c.ends = c.began.Add(sessionTime)
	value, err := s.seal(sessionCookie, c.open())
	if err != nil {
		return "", err
	}
	s.setCookie(w, r, sessionCookie, value)
	return value, nil
}

// seal makes a cookie's value that only this node can read, and only as that cookie.
func (s *Server) seal(name string, open []byte) (string, error) {
	box := s.pages.sessions
	nonce := make([]byte, box.NonceSize(), box.NonceSize()+len(open)+box.Overhead())
	if _, err := io.ReadFull(s.secrets(), nonce); err != nil {
		return "", fmt.Errorf("seal a cookie: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(box.Seal(nonce, nonce, open, []byte(name))), nil
}

// unseal reads what seal made; nil if it did not.
func (s *Server) unseal(name, value string) []byte {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	box := s.pages.sessions
	if err != nil || len(sealed) < box.NonceSize() {
		return nil
	}
	open, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], []byte(name))
	if err != nil {
		return nil
	}
	return open
}

// session is the session of a browser, if it has one that has not ended.
func (s *Server) session(r *http.Request) (session, bool) {
	c, ok := readSession(s.unseal(sessionCookie, s.cookie(r, sessionCookie)))
	return c, ok && s.now().Before(c.ends)
}

// visitor is who is logged in; ok is false if nobody is, or the key was replaced since.
func (s *Server) visitor(r *http.Request) (u horde.User, ok bool, err error) {
	c, ok := s.session(r)
	switch {
	case !ok:
		return u, false, nil
	case c.key == "" && s.deps.Logins == nil:
		return u, false, nil
	case c.key == "":
		u, ok = s.deps.Accounts.User(c.user)
		mark := s.deps.Logins.KeyMark(c.user)
		return u, ok && hmac.Equal(mark[:], c.mark[:]), nil
	}
	u, err = s.userByKey(r.Context(), c.key)
	if errors.Is(err, horde.RCInvalidAPIKey) {
		return u, false, nil
	}
	return u, err == nil, err
}

// loginFresh is how long after coming from a provider somebody counts as being there.
const loginFresh = 10 * time.Minute

// sure refuses what cannot be undone unless it is the person who asks, not somebody who sat
// down at an open browser: the form has the account's API key, or the browser came back from
// the person's provider a moment ago.
func (s *Server) sure(r *http.Request, form url.Values, u horde.User) error {
	key := horde.APIKey(strings.TrimSpace(form.Get("apikey")))
	if c, ok := s.session(r); key == "" && ok && c.key == "" && c.user == u.ID && s.now().Before(c.began.Add(loginFresh)) {
		return nil
	}
	owner, err := s.ownAccount(r.Context(), key)
	if err == nil && owner.ID != u.ID {
		err = horde.Refuse(horde.RCWrongCredentials, "This is not the key of the account that is logged in.")
	}
	return err
}

// lately is how long after logging in somebody counts as being there, for what can be taken back.
const lately = 30 * time.Minute

// isRecent tells whether a session began lately, so that its forms need no key.
func (s *Server) isRecent(r *http.Request) bool {
	c, ok := s.session(r)
	return ok && s.now().Before(c.began.Add(lately))
}

// recent is sure for what harms others but can be taken back: flagging, blocks, modes, and undoing.
// It asks for the key only of who logged in a while ago.
func (s *Server) recent(r *http.Request, form url.Values, u horde.User) error {
	if s.isRecent(r) {
		return nil
	}
	if strings.TrimSpace(form.Get("apikey")) == "" {
		return horde.Refuse(horde.RCInvalidAPIKey, "You logged in a while ago. Please enter your API key, or log in again.")
	}
	return s.sure(r, form, u)
}

// formToken is the token for the forms of a page. session is the value of the session cookie
// that the browser has when it sends the form.
func (s *Server) formToken(w http.ResponseWriter, r *http.Request, session string) (string, error) {
	id := s.cookie(r, formCookie)
	if id == "" {
		var err error
		if id, err = newSecret(s.secrets()); err != nil {
			return "", err
		}
		s.setCookie(w, r, formCookie, id)
	}
	return s.token(id, session), nil
}

func (s *Server) token(id, session string) string {
	mac := hmac.New(sha256.New, s.pages.tokens)
	mac.Write([]byte(id + " " + session))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// staleForm refuses a form that did not come from a page of this node for this browser, or
// that is older than its session.
func staleForm() error {
	return horde.Refuse(horde.RCForbidden, "This form is too old, or did not come from this page. Please send it again.")
}

// checkToken refuses forms that another site may have made.
func (s *Server) checkToken(r *http.Request, form url.Values) error {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return staleForm()
	}
	id := s.cookie(r, formCookie)
	want := s.token(id, s.cookie(r, sessionCookie))
	if id == "" || !hmac.Equal([]byte(form.Get("csrf")), []byte(want)) {
		return staleForm()
	}
	return nil
}

// readForm reads a form that a browser sent.
func readForm(r *http.Request) (url.Values, error) {
	broken := horde.Refuse(horde.RCBadRequest, "The form could not be read.")
	raw, err := io.ReadAll(r.Body)
	if err != nil || !utf8.Valid(raw) {
		return nil, broken
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, broken
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, broken
	}
	return form, nil
}

// postedForm reads a form and checks its token.
func (s *Server) postedForm(r *http.Request) (url.Values, error) {
	form, err := readForm(r)
	if err != nil {
		return url.Values{}, err
	}
	return form, s.checkToken(r, form)
}

// asRefusal splits an error of a form into what its page says and with which status; errors that
// are nobody's business stay errors.
func asRefusal(err error) (status int, text string, rest error) {
	var refusal *horde.Error
	var other *statusError
	switch {
	case err == nil:
		return http.StatusOK, "", nil
	case errors.As(err, &other) && errors.As(err, &refusal):
		return other.status, refusal.Msg, nil
	case errors.As(err, &refusal):
		return statusOf(refusal.RC), refusal.Msg, nil
	}
	return 0, "", err
}
