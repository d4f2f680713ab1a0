package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"hordenode/internal/horde"
)

func (s *Server) userRoutes() []route {
	limits := []limit{{n: 60, per: time.Minute, by: byPath}}
	return []route{
		{method: "GET", path: "/api/v2/users", handle: s.listUsers},
		{method: "GET", path: "/api/v2/users/{user_id}", handle: s.showUser, limits: limits},
		{method: "PUT", path: "/api/v2/users/{user_id}", handle: s.changeUser, limits: limits, schema: userSchema()},
		{method: "DELETE", path: "/api/v2/users/{user_id}", handle: s.deleteUser, limits: limits},
		{method: "GET", path: "/api/v2/find_user", handle: s.findUser},
	}
}

// A view is how much of an account is shown.
type view uint8

const (
	publicView    view = iota
	ownView            // the user's own
	moderatorView      // everything
)

// userDetails is an account as the API shows it, in the API's order. Members that are nil
// are null in the list of users and missing elsewhere.
type userDetails struct {
	Username      string              `json:"username"`
	ID            horde.UserID        `json:"id"`
	Kudos         float64             `json:"kudos"`
	Evaluating    *float64            `json:"evaluating_kudos"`
	Concurrency   int                 `json:"concurrency"`
	WorkerInvited int                 `json:"worker_invited"`
	Moderator     bool                `json:"moderator"`
	KudosDetails  userKudosDetails    `json:"kudos_details"`
	WorkerCount   int                 `json:"worker_count"`
	WorkerIDs     []horde.WorkerID    `json:"worker_ids"` // nil: not shown
	Styles        []userStyle         `json:"styles"`
	SharedKeyIDs  []horde.SharedKeyID `json:"sharedkey_ids"` // nil: not shown
	Active        activeRequests      `json:"active_generations"`
	Monthly       monthlyKudos        `json:"monthly_kudos"`
	Trusted       bool                `json:"trusted"`
	Flagged       bool                `json:"flagged"`
	VPN           *bool               `json:"vpn"`
	Service       bool                `json:"service"`
	Education     bool                `json:"education"`
	Customizer    bool                `json:"customizer"`
	Special       *bool               `json:"special"`
	Deleted       bool                `json:"deleted"`
	Suspicious    *int                `json:"suspicious"`
	Pseudonymous  bool                `json:"pseudonymous"`
	Contact       *string             `json:"contact"`
	AdminComment  *string             `json:"admin_comment"`
	Passkey       *string             `json:"proxy_passkey"` // only its hash is kept: that there is one
	AccountAge    int64               `json:"account_age"`   // seconds
	Usage         oldUsage            `json:"usage"`
	Contributions oldContributions    `json:"contributions"`
	Records       userRecords         `json:"records"`
}

type userKudosDetails struct {
	Accumulated float64 `json:"accumulated"`
	Gifted      float64 `json:"gifted"`
	Donated     float64 `json:"donated"`
	Admin       float64 `json:"admin"`
	Received    float64 `json:"received"`
	Recurring   float64 `json:"recurring"`
	Awarded     float64 `json:"awarded"`
	Styled      float64 `json:"styled"`
}

type activeRequests struct {
	Text  []horde.RequestID `json:"text,omitempty"`
	Image []horde.RequestID `json:"image,omitempty"`
}

type monthlyKudos struct {
	Amount       *int64  `json:"amount,omitempty"` // nil: not shown
	LastReceived *string `json:"last_received,omitempty"`
}

// oldUsage and oldContributions are obsolete and always null.
type oldUsage struct {
	MegaPixelSteps *float64 `json:"megapixelsteps"`
	Requests       *int     `json:"requests"`
}

type oldContributions struct {
	MegaPixelSteps *float64 `json:"megapixelsteps"`
	Fulfillments   *int     `json:"fulfillments"`
}

type userRecords struct {
	Usage        workRecord  `json:"usage"`
	Contribution workRecord  `json:"contribution"`
	Fulfillment  countRecord `json:"fulfillment"`
	Request      countRecord `json:"request"`
	Style        countRecord `json:"style"`
}

type workRecord struct {
	MegaPixelSteps float64 `json:"megapixelsteps"`
	Tokens         int64   `json:"tokens"`
}

type countRecord struct {
	Image         int64 `json:"image"`
	Text          int64 `json:"text"`
	Interrogation int64 `json:"interrogation"`
}

func newCountRecord(n [3]int64) countRecord {
	return countRecord{n[horde.KindImage], n[horde.KindText], n[horde.KindAlchemy]}
}

// userDetails shows an account as one may see it who has the given view.
func (s *Server) userDetails(ctx context.Context, u horde.User, v view) userDetails {
	d := userDetails{
		Username:      u.Alias(),
		ID:            u.ID,
		Kudos:         kudosFloat(u.Kudos),
		Concurrency:   u.Concurrency,
		WorkerInvited: u.WorkerInvited,
		Moderator:     u.Is(horde.RoleModerator),
		KudosDetails: userKudosDetails{
			Accumulated: kudosFloat(u.Details.Accumulated),
			Gifted:      kudosFloat(u.Details.Gifted),
			Donated:     kudosFloat(u.Details.Donated),
			Admin:       kudosFloat(u.Details.Admin),
			Received:    kudosFloat(u.Details.Received),
			Recurring:   kudosFloat(u.Details.Recurring),
			Awarded:     kudosFloat(u.Details.Awarded),
			Styled:      kudosFloat(u.Details.Styled),
		},
		WorkerCount:  u.Workers - s.alchemists(u.ID),
		Styles:       s.stylesOf(u, v),
		Trusted:      u.Is(horde.RoleTrusted),
		Flagged:      u.Is(horde.RoleFlagged),
		Service:      u.Is(horde.RoleService),
		Education:    u.Is(horde.RoleEducation),
		Customizer:   u.Is(horde.RoleCustomizer),
		Deleted:      u.Is(horde.RoleDeleted),
		Pseudonymous: u.Class == horde.ClassPseudonymous,
		AccountAge:   max(0, int64(s.now().Sub(u.Created)/time.Second)),
		Records: userRecords{
			Usage:        workRecord{float64(u.Records.UsageImage) / 100, u.Records.UsageText},
			Contribution: workRecord{float64(u.Records.ContributionImage) / 100, u.Records.ContributionText},
			Fulfillment:  newCountRecord(u.Records.Fulfillments),
			Request:      newCountRecord(u.Records.Requests),
			Style:        newCountRecord(u.Records.Styles),
		},
	}
	if v >= ownView || u.PublicWorkers {
		d.WorkerIDs = []horde.WorkerID{}
		for _, w := range s.deps.Registry.WorkersOf(u.ID) {
			if w.Kind != horde.KindAlchemy {
				d.WorkerIDs = append(d.WorkerIDs, w.ID)
			}
		}
	}
	if v >= ownView {
		active := s.deps.Live.ActiveRequests(ctx, u.ID)
		d.Active = activeRequests{Text: active[horde.KindText], Image: active[horde.KindImage]}
		d.SharedKeyIDs = s.sharedKeysOf(u.ID)
		d.VPN = new(u.Is(horde.RoleVPN))
		d.Special = new(u.Is(horde.RoleSpecial))
		d.Contact = orNull(u.Contact)
	}
	if v >= moderatorView {
		d.Evaluating = new(kudosFloat(u.Escrow))
		d.Suspicious = new(u.Suspicion)
		d.AdminComment = orNull(u.AdminComment)
		if u.HasPasskey {
			d.Passkey = new("(set)")
		}
		d.Monthly.Amount = new(int64(u.MonthlyKudos / horde.Whole(1)))
		if !u.MonthlyLast.IsZero() {
			d.Monthly.LastReceived = new(u.MonthlyLast.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0000"))
		}
	}
	return d
}

// orNull is nil for an empty text.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

const (
	usersPerPage = 25
	maxUserPage  = 10_000
)

// listUsers serves GET /api/v2/users. It shows nulls, unlike the others.
func (s *Server) listUsers(w http.ResponseWriter, r *http.Request) error {
	a := &args{r: r}
	page := a.queryInt("page", 1)
	order := a.query("sort", "kudos")
	if a.err != nil {
		return a.err
	}
	list := []userDetails{}
	if page <= maxUserPage {
		if order != "age" {
			order = "kudos"
		}
		for _, u := range s.deps.Registry.Users(order, (max(page, 1)-1)*usersPerPage, usersPerPage) {
			list = append(list, s.userDetails(r.Context(), u, publicView))
		}
	}
	return encode(w, http.StatusOK, list)
}

// showUser serves GET /api/v2/users/{user_id}.
func (s *Server) showUser(w http.ResponseWriter, r *http.Request) error {
	path := r.PathValue("user_id")
	if !isDigits(path) {
		return userNotFound(path)
	}
	asker, known, err := s.optionalUser(r)
	if err != nil {
		return err
	}
	u, err := s.userByID(r.Context(), path)
	if err != nil {
		return err
	}
	v := publicView
	switch {
	case known && asker.Is(horde.RoleModerator):
		v = moderatorView
	case known && strconv.FormatInt(int64(asker.ID), 10) == path:
		v = ownView
	}
	return s.encodeUser(w, r, u, v)
}

// findUser serves GET /api/v2/find_user: who has this key?
func (s *Server) findUser(w http.ResponseWriter, r *http.Request) error {
	key, _ := apikey(r)
	if key == "" {
		return horde.Refuse(horde.RCInvalidAPIKey, "The apikey header says whom to look for, and it is missing.")
	}
	switch k, err := s.sharedKeyByID(r.Context(), string(key)); {
	case err == nil:
		return s.encodeKeyOwner(w, r, k)
	case !errors.Is(err, horde.RCInvalidAPIKey):
		return err
	}
	u, err := s.userByKey(r.Context(), key)
	if errors.Is(err, horde.RCInvalidAPIKey) {
		return horde.Refuse(horde.RCUserNotFound, "No user has this API key.")
	}
	if err != nil {
		return err
	}
	return s.encodeUser(w, r, u, ownView)
}

func (s *Server) encodeUser(w http.ResponseWriter, r *http.Request, u horde.User, v view) error {
	d, err := sparse(s.userDetails(r.Context(), u, v))
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, d)
}

// userByID finds a user by the id in a path. One that is not known here may have been made at
// another node a moment ago.
func (s *Server) userByID(ctx context.Context, path string) (horde.User, error) {
	id, ok := horde.ParseAlias(path)
	if !ok || !isDigits(path) {
		return horde.User{}, userNotFound(path)
	}
	if u, ok := s.deps.Accounts.User(id); ok {
		return u, nil
	}
	if err := s.confirmMiss(ctx); err != nil {
		return horde.User{}, err
	}
	if u, ok := s.deps.Accounts.User(id); ok {
		return u, nil
	}
	return horde.User{}, userNotFound(path)
}

func userNotFound(id string) error {
	return horde.Refuse(horde.RCUserNotFound, "There is no user with the id %s.", truncate(id, 20))
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// userSchema is the body of PUT /users.
func userSchema() *schema {
	const huge = 1 << 53
	return object(
		may("kudos", number(-huge, huge)),
		may("monthly_kudos", whole(-huge, huge)),
		may("usage_multiplier", number(0.1, 10)),
		may("moderator", flag()),
		may("concurrency", whole(0, 500)),
		may("worker_invited", whole(-1<<31, 1<<31-1)),
		may("trusted", flag()),
		may("flagged", flag()),
		may("customizer", flag()),
		may("vpn", flag()),
		may("service", flag()),
		may("education", flag()),
		may("special", flag()),
		may("reset_suspicion", flag()),
		may("admin_comment", text(5, 500)),
		may("public_workers", flag()),
		may("username", text(3, 100)),
		may("contact", text(5, 500)),
		may("generate_proxy_passkey", flag()),
		may("undelete", flag()),
		may("filtered", flag()),
	)
}

// A userChangeRequest is the body of PUT /users.
type userChangeRequest struct{ change UserChange }

// most is the largest amount, in kudos, that is passed on; the ledger refuses far less.
const most = 1 << 40

func (q *userChangeRequest) read(a *args) {
	a.apikey()
	c := &q.change
	c.Kudos = a.wholeAmount("kudos")
	c.MonthlyKudos = a.wholeAmount("monthly_kudos")
	if f := a.optNumber("usage_multiplier"); f != nil {
		c.UsagePermille = new(int64(*f*1000 + 0.5))
	}
	c.Moderator = a.optFlag("moderator")
	c.Concurrency = a.optInt("concurrency")
	c.WorkerInvited = a.optInt("worker_invited")
	c.Trusted = a.optFlag("trusted")
	c.Flagged = a.optFlag("flagged")
	c.Customizer = a.optFlag("customizer")
	c.VPN = a.optFlag("vpn")
	c.Service = a.optFlag("service")
	c.Education = a.optFlag("education")
	c.Special = a.optFlag("special")
	c.ResetSuspicion = a.has("reset_suspicion")
	c.AdminComment = a.optStr("admin_comment", 500)
	c.PublicWorkers = a.optFlag("public_workers")
	c.Name = a.optStr("username", 100)
	c.Contact = a.optStr("contact", 500)
	if a.has("generate_proxy_passkey") {
		c.Passkey = "wanted"
	}
	c.Undelete = a.has("undelete")
}

// wholeAmount is an amount of kudos; fractions are cut off.
func (a *args) wholeAmount(name string) *horde.Kudos {
	n := a.optInteger(name)
	if n == nil {
		return nil
	}
	return new(horde.Whole(min(max(*n, -most), most)))
}

// optInt is like optInteger but fits an int; the schema bounds it.
func (a *args) optInt(name string) *int {
	n := a.optInteger(name)
	if n == nil {
		return nil
	}
	return new(int(*n))
}

// userChanges is the answer of PUT /users: what was changed, as it is now.
type userChanges struct {
	NewKudos        *float64 `json:"new_kudos,omitempty"`
	MonthlyKudos    *int64   `json:"monthly_kudos,omitempty"`
	UsageMultiplier *float64 `json:"usage_multiplier,omitempty"`
	Moderator       *bool    `json:"moderator,omitempty"`
	Concurrency     *int     `json:"concurrency,omitempty"`
	WorkerInvited   *int     `json:"worker_invited,omitempty"`
	Trusted         *bool    `json:"trusted,omitempty"`
	Flagged         *bool    `json:"flagged,omitempty"`
	Customizer      *bool    `json:"customizer,omitempty"`
	VPN             *bool    `json:"vpn,omitempty"`
	Service         *bool    `json:"service,omitempty"`
	Education       *bool    `json:"education,omitempty"`
	Special         *bool    `json:"special,omitempty"`
	NewSuspicion    *int     `json:"new_suspicion,omitempty"`
	AdminComment    *string  `json:"admin_comment,omitempty"`
	PublicWorkers   *bool    `json:"public_workers,omitempty"`
	Username        *string  `json:"username,omitempty"`
	Contact         *string  `json:"contact,omitempty"`
	Passkey         *string  `json:"proxy_passkey,omitempty"`
	Undeleted       *bool    `json:"undeleted,omitempty"`
}

// changeUser serves PUT /api/v2/users/{user_id}. Unlike the reference it makes all changes or
// none. Who may change what is the ledger's to judge; only texts are judged here.
func (s *Server) changeUser(w http.ResponseWriter, r *http.Request) error {
	target, err := s.userByID(r.Context(), r.PathValue("user_id"))
	if err != nil {
		return err
	}
	var q userChangeRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	actor, err := s.user(r)
	if err != nil {
		return err
	}
	c := q.change
	c.Actor, c.Target = actor.ID, target.ID
	if err := s.checkUserTexts(actor, &c); err != nil {
		return err
	}
	if c.Passkey != "" {
		if c.Passkey, err = newSecret(s.secrets()); err != nil {
			return err
		}
	}
	now, err := s.deps.Registry.UpdateUser(r.Context(), c)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, changesOf(c, target, now))
}

// checkUserTexts judges the texts that the actor may change, and makes them safe to show.
func (s *Server) checkUserTexts(actor horde.User, c *UserChange) error {
	moderator := actor.Is(horde.RoleModerator)
	own := actor.ID != horde.Anonymous && (moderator || actor.ID == c.Target)
	switch {
	case c.AdminComment != nil && moderator && s.isProfane(*c.AdminComment):
		return horde.Refuse(horde.RCProfaneAdminComment, "The comment is profane.")
	case c.Name != nil && own && s.isProfane(*c.Name):
		return horde.Refuse(horde.RCProfaneUserName, "The user name is profane.")
	case c.Name != nil && own && utf8.RuneCountInString(*c.Name) > maxUserName:
		return tooLongUserName()
	case c.Contact != nil && own && s.isProfane(*c.Contact):
		return horde.Refuse(horde.RCProfaneUserContact, "The contact is profane.")
	}
	if c.AdminComment != nil {
		c.AdminComment = new(cleanText(*c.AdminComment))
	}
	if c.Name != nil {
		c.Name = new(sanitize(*c.Name))
	}
	if c.Contact != nil {
		c.Contact = new(cleanText(*c.Contact))
	}
	return nil
}

// maxUserName is the length of user names, in characters.
const maxUserName = 30

func tooLongUserName() error {
	return horde.Refuse(horde.RCTooLongUserName, "A user name has %d characters at most.", maxUserName)
}

// changesOf tells what a change did to a user.
func changesOf(c UserChange, before, now horde.User) userChanges {
	var out userChanges
	role := func(given *bool, r horde.Roles) *bool {
		if given == nil {
			return nil
		}
		return new(now.Is(r))
	}
	if c.Kudos != nil {
		out.NewKudos = new(kudosFloat(now.Kudos))
	}
	if c.MonthlyKudos != nil {
		out.MonthlyKudos = new(int64(now.MonthlyKudos / horde.Whole(1)))
	}
	if c.UsagePermille != nil {
		out.UsageMultiplier = new(float64(now.UsagePermille) / 1000)
	}
	out.Moderator = role(c.Moderator, horde.RoleModerator)
	if c.Concurrency != nil || c.Education != nil && before.Concurrency != now.Concurrency {
		out.Concurrency = &now.Concurrency
	}
	if c.WorkerInvited != nil {
		out.WorkerInvited = &now.WorkerInvited
	}
	out.Trusted = role(c.Trusted, horde.RoleTrusted)
	out.Flagged = role(c.Flagged, horde.RoleFlagged)
	out.Customizer = role(c.Customizer, horde.RoleCustomizer)
	out.VPN = role(c.VPN, horde.RoleVPN)
	out.Service = role(c.Service, horde.RoleService)
	out.Education = role(c.Education, horde.RoleEducation)
	out.Special = role(c.Special, horde.RoleSpecial)
	if c.ResetSuspicion {
		out.NewSuspicion = &now.Suspicion
	}
	if c.AdminComment != nil {
		out.AdminComment = &now.AdminComment
	}
	if c.PublicWorkers != nil {
		out.PublicWorkers = &now.PublicWorkers
	}
	if c.Name != nil {
		out.Username = &now.Name
	}
	if c.Contact != nil {
		out.Contact = &now.Contact
	}
	out.Passkey = orNull(c.Passkey)
	if c.Undelete {
		out.Undeleted = new(!now.Is(horde.RoleDeleted))
	}
	return out
}

// deleteUser serves DELETE /api/v2/users/{user_id}.
func (s *Server) deleteUser(w http.ResponseWriter, r *http.Request) error {
	path := r.PathValue("user_id")
	if !isDigits(path) {
		return userNotFound(path)
	}
	actor, err := s.user(r)
	if err != nil {
		return err
	}
	target, err := s.userByID(r.Context(), path)
	if err != nil {
		return err
	}
	if err := s.deps.Registry.DeleteUser(r.Context(), actor.ID, target.ID); err != nil {
		return err
	}
	return encode(w, http.StatusOK, json.RawMessage(`{"message":"OK"}`))
}

// secrets is where secrets come from.
func (s *Server) secrets() io.Reader {
	if s.deps.Secrets != nil {
		return s.deps.Secrets
	}
	return rand.Reader
}

// newSecret returns 22 characters that nobody can guess, as API keys have them.
func newSecret(rnd io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}
