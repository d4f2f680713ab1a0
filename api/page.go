package api

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"embed"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// Pages for people, in the look of the page at "/" (package web, which serves their style and
// scripts under /assets/):
//
//	/register /login/...           how to become somebody: register.go, login.go
//	/profile... /transfer          forms: pagesession.go keeps who is logged in
//	/leaderboard /workers /teams   what the API lists
//	/news /terms /privacy /sponsors  what the operator wrote: pagedocument.go, pagenews.go
//	/moderation...                 the console of moderators: pageconsole.go
//	/api/                          the API's description: docs.go
//
// They are rendered by html/template under a policy that allows no script, style or frame but
// the node's own. Unlike the API they know a cookie, so no other origin may read them and
// every form carries a token.
func (s *Server) pageRoutes() []route {
	forms := []limit{{n: 20, per: time.Minute, by: byPath}}
	get := func(path string, h func(http.ResponseWriter, *http.Request) error) route {
		return route{method: "GET", path: path, handle: h, unmasked: true}
	}
	post := func(path string, h func(http.ResponseWriter, *http.Request) error) route {
		return route{method: "POST", path: path, handle: h, unmasked: true, raw: true, body: 4096, limits: forms}
	}
	return slices.Concat(s.loginRoutes(), s.settingsRoutes(post), s.keyRoutes(post), s.teamPageRoutes(post), s.consoleRoutes(get, post), []route{
		get("/profile/statement", s.shown(nil, s.renderStatement)),
		get("/news", s.showNews),
		get("/profile", s.showProfile),
		post("/profile", s.logIn),
		post("/profile/key", s.rotateKey),
		post("/profile/logout", s.logOut),
		get("/transfer", s.showTransfer),
		post("/transfer", s.sendKudos),
		get("/leaderboard", s.showLeaders),
		get("/workers", s.showWorkers),
		get("/terms", s.showDocument("terms", "Terms of use")),
		get("/privacy", s.showDocument("privacy", "Privacy")),
		get("/sponsors", s.showDocument("sponsors", "Sponsors")),
	})
}

//go:embed pages
var pageFiles embed.FS

// pages is what all pages share.
type pages struct {
	set      map[string]*template.Template
	sessions cipher.AEAD // seals session cookies
	tokens   []byte      // key of the tokens of forms
	used     used        // attempts to log in
}

// newPages parses the templates and derives the keys of cookies and forms from the node's
// secret.
func newPages(secret []byte) (*pages, error) {
	p := &pages{set: map[string]*template.Template{}}
	for _, name := range []string{
		"register", "profile", "transfer", "leaderboard", "workers", "document", "docs", "going", "sorry", "settings", "statement", "keys", "teams", "team", "news",
		"modusers", "moduser", "modworkers", "modworker", "modfilters", "modmessages", "modmodes", "modblocks", "modlog",
	} {
		t, err := template.New("layout.html").Funcs(pageFuncs()).ParseFS(pageFiles, "pages/layout.html", "pages/worker-table.html", "pages/parts.html", "pages/modparts.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parse the page %s: %w", name, err)
		}
		p.set[name] = t
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "hordenode page sessions", 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of sessions: %w", err)
	}
	if p.tokens, err = hkdf.Key(sha256.New, secret, nil, "hordenode page tokens", 32); err != nil {
		return nil, fmt.Errorf("derive the key of tokens: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make the cipher of sessions: %w", err)
	}
	if p.sessions, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("make the cipher of sessions: %w", err)
	}
	return p, nil
}

// unescape undoes what sanitize and cleanText do to &, < and >.
func unescape(s string) string { return html.UnescapeString(s) }

func pageFuncs() template.FuncMap {
	return template.FuncMap{
		// Names are stored with &, < and > escaped, for clients that forget it. Templates
		// do not forget: what is unescaped here is escaped again where it is shown.
		"plain":  unescape,
		"amount": groupedFloat,
		"count":  grouped,
		"ago":    roughly,
	}
}

// A page is what the layout shows around a page's own part.
type page struct {
	Title  string
	Here   string // path, to mark in the navigation
	Script bool   // asks for the script that refreshes and copies
	Node   string
	Failed string // why what was asked for could not be done; "": nothing was
	Done   string // what was done
	Body   any
}

const formPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// pageHeaders forbid everything that a page does not need: inline scripts and styles, frames,
// other origins. What is the same for everybody may be kept.
func (s *Server) pageHeaders(h http.Header, public bool) {
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers"} {
		h.Del(name)
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", formPolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	if !public {
		h.Set("Cache-Control", "no-store")
	}
}

// render answers with a page.
func (s *Server) render(w http.ResponseWriter, status int, name string, p page) error {
	b, err := s.rendered(name, p)
	if err != nil {
		return err
	}
	s.pageHeaders(w.Header(), false)
	w.WriteHeader(status)
	_, err = w.Write(b)
	return err
}

func (s *Server) rendered(name string, p page) ([]byte, error) {
	p.Node = s.cfg.NodeName
	var b bytes.Buffer
	if err := s.pages.set[name].Execute(&b, p); err != nil {
		return nil, fmt.Errorf("render the page %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// grouped writes a whole number with a thin space between thousands.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "−", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return sign + digits
}

// groupedFloat is grouped for numbers with a fraction, of which up to two decimals are shown.
func groupedFloat(f float64) string {
	text := strconv.FormatFloat(f, 'f', 2, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return text
	}
	out := grouped(n)
	if n == 0 && f < 0 {
		out = "−0"
	}
	if fraction = strings.TrimRight(fraction, "0"); fraction != "" {
		out += "." + fraction
	}
	return out
}

// roughly tells a time in its largest unit.
func roughly(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	for _, u := range []struct {
		size time.Duration
		name string
	}{{365 * 24 * time.Hour, "year"}, {24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int64(d / u.size); n == 1 {
			return "1 " + u.name
		} else if n > 1 {
			return grouped(n) + " " + u.name + "s"
		}
	}
	return "less than a minute"
}

// rolesOf names what a user is, most important first.
func rolesOf(u horde.User) []string {
	roles := []string{}
	for _, r := range []struct {
		role horde.Roles
		name string
	}{
		{horde.RoleAdmin, "administrator"}, {horde.RoleModerator, "moderator"}, {horde.RoleTrusted, "trusted"}, {horde.RoleService, "service"},
		{horde.RoleEducation, "education"}, {horde.RoleCustomizer, "customizer"}, {horde.RoleSpecial, "special"}, {horde.RoleFlagged, "flagged"},
	} {
		if u.Is(r.role) {
			roles = append(roles, r.name)
		}
	}
	return roles
}
