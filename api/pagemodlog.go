package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hordenode/internal/horde"
)

// modLog is what the page of the log shows.
type modLog struct {
	CSRF   string
	Lines  []modLogLine
	Older  uint64
	HasKey bool
}

type modLogLine struct {
	Number             uint64
	At, Actor, Action  string
	Target, TargetPath string
	Reason, Until      string
	CanUndo            bool
	NeedsKey           bool // it moves kudos or makes a moderator, or the visitor logged in a while ago
}

const modLogPage = 50

func (s *Server) renderModLog(w http.ResponseWriter, r *http.Request, _ horde.User, status int, p page) error {
	if s.deps.Book == nil {
		return s.keptOut(w, horde.Refuse(horde.RCUnavailable, "This node does not show its ledger."))
	}
	a := &args{r: r}
	acts := s.deps.Book.Moderation(uint64(max(a.queryInt("before", 0), 0)), modLogPage)
	d := modLog{}
	for _, m := range acts {
		l := modLogLine{Number: m.Number, At: m.At.UTC().Format("2006-01-02 15:04"), Actor: m.Actor, Action: m.Action, Target: m.Target, Reason: m.Reason}
		if id, ok := strings.CutPrefix(m.Target, "user #"); ok && isDigits(id) {
			l.TargetPath = "/moderation/users/" + id
		}
		if !m.Until.IsZero() {
			l.Until = m.Until.UTC().Format("2006-01-02 15:04")
		}
		undo, ok := inverse(m)
		l.CanUndo, l.NeedsKey = ok || m.CanUndo, undo.grave() || !s.isRecent(r)
		d.Lines = append(d.Lines, l)
	}
	if n := len(acts); n == modLogPage && acts[n-1].Number > 1 {
		d.Older = acts[n-1].Number
	}
	c, _ := s.session(r)
	d.HasKey = c.key != ""
	var err error
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = "Log", "/moderation/log", d
	return s.render(w, status, "modlog", p)
}

// An undo is what takes an act on a user or the modes back: the opposite change. It is an act like
// any other, judged by the roles of who does it. Acts on workers, teams, messages, filters and
// addresses are taken back by the ledger, which knows how they were (ModerationAct.CanUndo).
type undo struct {
	user  *UserChange
	modes *ModesChange
}

// grave tells what must not be done from an open browser.
func (u undo) grave() bool {
	return u.user != nil && (u.user.Kudos != nil || u.user.MonthlyKudos != nil || u.user.Moderator != nil)
}

// inverse is what takes an act of the log back; false if the log does not say what was before.
func inverse(m ModerationAct) (undo, bool) {
	if list, ok := strings.CutPrefix(m.Action, "modes: "); ok {
		c := &ModesChange{}
		ok := eachChange(list, func(name, value string) bool {
			return invertFlag(map[string]**bool{"maintenance": &c.Maintenance, "invite_only": &c.InviteOnly, "raid": &c.Raid}[name], value)
		})
		return undo{modes: c}, ok
	}
	target, ok := strings.CutPrefix(m.Target, "user #")
	id, err := strconv.ParseInt(target, 10, 64)
	if !ok || err != nil {
		return undo{}, false
	}
	c := &UserChange{Target: horde.UserID(id)}
	switch m.Action {
	case "delete account":
		c.Undelete = true
		return undo{user: c}, true
	case "wipe account":
		return undo{}, false
	}
	ok = eachChange(m.Action, func(name, value string) bool {
		switch name {
		case "kudos":
			return invertAmount(&c.Kudos, value)
		case "monthly_kudos":
			return invertAmount(&c.MonthlyKudos, value)
		}
		return invertFlag(map[string]**bool{
			"moderator": &c.Moderator, "trusted": &c.Trusted, "flagged": &c.Flagged, "customizer": &c.Customizer, "vpn": &c.VPN,
			"service": &c.Service, "education": &c.Education, "special": &c.Special, "public_workers": &c.PublicWorkers,
		}[name], value)
	})
	return undo{user: c}, ok
}

// eachChange goes through "trusted=true, kudos=+100.00". It is false for what has no value.
func eachChange(list string, f func(name, value string) bool) bool {
	for part := range strings.SplitSeq(list, ", ") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || !f(name, value) {
			return false
		}
	}
	return true
}

func invertFlag(into **bool, value string) bool {
	was, err := strconv.ParseBool(value)
	if into == nil || err != nil {
		return false
	}
	*into = new(!was)
	return true
}

func invertAmount(into **horde.Kudos, value string) bool {
	f, err := strconv.ParseFloat(strings.TrimPrefix(value, "+"), 64)
	if err != nil || !(f >= -most && f <= most) { // NaN is in no range
		return false
	}
	cents := horde.Kudos(f*100 + 0.5)
	if f < 0 {
		cents = horde.Kudos(f*100 - 0.5)
	}
	*into = new(-cents)
	return true
}

// modUndo takes back the act of a number.
func (s *Server) modUndo(r *http.Request, u horde.User, form url.Values) (string, error) {
	if s.deps.Book == nil {
		return "", horde.Refuse(horde.RCUnavailable, "This node does not show its ledger.")
	}
	number, err := strconv.ParseUint(form.Get("number"), 10, 62)
	if err != nil {
		return "", staleForm()
	}
	acts := s.deps.Book.Moderation(number+1, 1)
	if len(acts) != 1 || acts[0].Number != number {
		return "", horde.Refuse(horde.RCBadRequest, "This act is not in the log any more.")
	}
	if acts[0].CanUndo {
		if err := s.recent(r, form, u); err != nil {
			return "", err
		}
		return "/moderation/log?told=undone", s.deps.Book.Undo(r.Context(), u.ID, number)
	}
	back, ok := inverse(acts[0])
	if !ok {
		return "", horde.Refuse(horde.RCBadRequest, "This act cannot be undone from here.")
	}
	sure := s.recent
	if back.grave() {
		sure = s.sure
	}
	if err := sure(r, form, u); err != nil {
		return "", err
	}
	why := fmt.Sprintf("Undoes number %d.", number)
	if back.modes != nil {
		back.modes.Actor, back.modes.Reason = u.ID, why
		_, err = s.deps.Registry.SetModes(r.Context(), *back.modes)
	} else {
		back.user.Actor, back.user.Reason = u.ID, why
		_, err = s.deps.Registry.UpdateUser(r.Context(), *back.user)
	}
	return "/moderation/log?told=undone", err
}

// publicReason is the reason of a form, which everybody may read in the log.
func publicReason(f *fields) string { return sanitize(f.text("reason", "The reason", 200)) }
