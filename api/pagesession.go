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
//	hordenode_session   the API key of who is logged in, sealed with the node's secret
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
	c := &http.Cookie{
		Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(s.baseURL(r), "https://"),
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil || len(c.Value) > maxCookie {
		return ""
	}
	return c.Value
}

// startSession logs a browser in. It returns the cookie's value.
func (s *Server) startSession(w http.ResponseWriter, r *http.Request, key horde.APIKey) (string, error) {
	box := s.pages.sessions
	nonce := make([]byte, box.NonceSize(), box.NonceSize()+8+len(key)+box.Overhead())
	if _, err := io.ReadFull(s.secrets(), nonce); err != nil {
		return "", fmt.Errorf("make a session: %w", err)
	}
	open := binary.BigEndian.AppendUint64(nil, uint64(s.now().Add(sessionTime).Unix()))
	value := base64.RawURLEncoding.EncodeToString(box.Seal(nonce, nonce, append(open, key...), nil))
	s.setCookie(w, r, sessionCookie, value)
	return value, nil
}

// sessionKey is the API key of who is logged in, "" if nobody is.
func (s *Server) sessionKey(r *http.Request) horde.APIKey {
	sealed, err := base64.RawURLEncoding.DecodeString(cookie(r, sessionCookie))
	box := s.pages.sessions
	if err != nil || len(sealed) < box.NonceSize() {
		return ""
	}
	open, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], nil)
	if err != nil || len(open) < 8 || s.now().Unix() >= int64(binary.BigEndian.Uint64(open)) {
		return ""
	}
	return horde.APIKey(open[8:])
}

// visitor is who is logged in; ok is false if nobody is, or the key is no longer valid.
func (s *Server) visitor(r *http.Request) (u horde.User, ok bool, err error) {
	key := s.sessionKey(r)
	if key == "" {
		return u, false, nil
	}
	u, err = s.userByKey(r.Context(), key)
	if errors.Is(err, horde.RCInvalidAPIKey) {
		return u, false, nil
	}
	return u, err == nil, err
}

// formToken is the token for the forms of a page. session is the value of the session cookie
// that the browser has when it sends the form.
func (s *Server) formToken(w http.ResponseWriter, r *http.Request, session string) (string, error) {
	id := cookie(r, formCookie)
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
	id := cookie(r, formCookie)
	want := s.token(id, cookie(r, sessionCookie))
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
	switch {
	case err == nil:
		return http.StatusOK, "", nil
	case errors.As(err, &refusal):
		return statusOf(refusal.RC), refusal.Msg, nil
	}
	return 0, "", err
}
