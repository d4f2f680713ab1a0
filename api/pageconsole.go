package api

import (
	"net/http"
	"net/url"
	"slices"

	"hordenode/internal/horde"
)

// The console is for moderators and admins:
//
//	/moderation                    users: find, look at, change, delete
//	/moderation/workers            workers: find, pause, maintenance, delete, block the address
//	/moderation/filters            expressions that prompts are checked with, and a place to try
//	/moderation/blocks             addresses that are kept out
//	/moderation/modes              maintenance, invite-only, raid
//	/moderation/messages           what workers are told
//	/moderation/log                what was done, and a way back
//
// The ledger judges every change again, by the actor's roles; what the console hides or shows
// is a convenience. What cannot be undone asks for the key once more (Server.sure); flagging,
// blocks, modes and undoing ask for it when the session is not new (Server.recent).
func (s *Server) consoleRoutes(get, post func(string, func(http.ResponseWriter, *http.Request) error) route) []route {
	show := func(path string, f shower) route { return get(path, s.shown(moderates, f)) }
	do := func(path string, f shower, d deed) route { return post(path, s.done(moderates, f, d)) }
	return slices.Concat([]route{
		show("/moderation", s.renderModUsers),
		show("/moderation/users/{user_id}", s.renderModUser),
		do("/moderation/users/{user_id}", s.renderModUser, s.modChangeUser),
		do("/moderation/users/{user_id}/delete", s.renderModUser, s.modDeleteUser),
		do("/moderation/users/{user_id}/undelete", s.renderModUser, s.modUndeleteUser),
		show("/moderation/workers", s.renderModWorkers),
		show("/moderation/workers/{worker_id}", s.renderModWorker),
		do("/moderation/workers/{worker_id}", s.renderModWorker, s.modChangeWorker),
		do("/moderation/workers/{worker_id}/delete", s.renderModWorker, s.modDeleteWorker),
		show("/moderation/filters", s.renderModFilters),
		do("/moderation/filters", s.renderModFilters, s.modSaveFilter),
		do("/moderation/filters/delete", s.renderModFilters, s.modDropFilter),
		do("/moderation/filters/try", s.renderModFilters, s.modTryFilter),
		show("/moderation/messages", s.renderModMessages),
		do("/moderation/messages", s.renderModMessages, s.modPostMessage),
		do("/moderation/messages/delete", s.renderModMessages, s.modDropMessage),
		show("/moderation/modes", s.renderModModes),
		do("/moderation/modes", s.renderModModes, s.modSetModes),
		show("/moderation/log", s.renderModLog),
		do("/moderation/log", s.renderModLog, s.modUndo),
	}, s.consoleBlockRoutes(show, do))
}

// moderates is the gate of the console.
func moderates(u horde.User) error {
	if !u.Is(horde.RoleModerator) && !u.Is(horde.RoleAdmin) {
		return horde.Refuse(horde.RCNotModerator, "This page is for moderators.")
	}
	return nil
}

// modModes is what the page of modes shows.
type modModes struct {
	CSRF    string
	NeedKey bool // the visitor logged in a while ago
	horde.Modes
}

func (s *Server) renderModModes(w http.ResponseWriter, r *http.Request, _ horde.User, status int, p page) error {
	d := modModes{Modes: s.deps.Accounts.Modes(), NeedKey: !s.isRecent(r)}
	var err error
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = "Modes", "/moderation/modes", d
	return s.render(w, status, "modmodes", p)
}

func (s *Server) modSetModes(r *http.Request, u horde.User, form url.Values) (string, error) {
	f := &fields{form: form}
	was := s.deps.Accounts.Modes()
	c := ModesChange{Actor: u.ID, Reason: publicReason(f)}
	for _, m := range []struct {
		name string
		was  bool
		into **bool
	}{{"maintenance", was.Maintenance, &c.Maintenance}, {"invite_only", was.InviteOnly, &c.InviteOnly}, {"raid", was.Raid, &c.Raid}} {
		if on := f.on(m.name); on != m.was {
			*m.into = &on
		}
	}
	if c.Maintenance == nil && c.InviteOnly == nil && c.Raid == nil {
		return "/moderation/modes", nil
	}
	if f.err != nil {
		return "", f.err
	}
	if err := s.recent(r, form, u); err != nil {
		return "", err
	}
	_, err := s.deps.Registry.SetModes(r.Context(), c)
	return "/moderation/modes?told=saved", err
}
