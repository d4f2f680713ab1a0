package api

import (
	"context"
	"net/http"
	"unicode/utf8"

	"hordenode/internal/horde"
)

// userChanger serves PUT /api/v2/users/{user_id} (spec/accounts.md 3.2). What is a command,
// like reset_suspicion, is carried out even if it is false.
func (s *Server) userChanger() *changer[UserChange, horde.User] {
	type (
		user   = horde.User
		change = UserChange
	)
	role := func(name string, r horde.Roles, at func(*change) **bool) setting[change, user] {
		return toggle(name, at, func(u user) bool { return u.Is(r) })
	}
	order := func(name string, take func(*change), told func(change, user) any) setting[change, user] {
		return setting[change, user]{name: name, schema: flag(), take: func(_ *args, _ string, c *change) { take(c) }, told: told}
	}
	as := func(name string, f setting[change, user]) setting[change, user] { f.as = name; return f }
	education := role("education", horde.RoleEducation, func(c *change) **bool { return &c.Education })
	education.with = "concurrency"
	const huge = 1 << 53
	return &changer[change, user]{
		s: s,
		settings: []setting[change, user]{
			{name: "kudos", schema: number(-huge, huge), as: "new_kudos",
				take: func(a *args, name string, c *change) { c.Kudos = a.wholeAmount(name) },
				told: func(_ change, u user) any { return kudosFloat(u.Kudos) }},
			{name: "monthly_kudos", schema: whole(-huge, huge),
				take: func(a *args, name string, c *change) { c.MonthlyKudos = a.wholeAmount(name) },
				told: func(_ change, u user) any { return int64(u.MonthlyKudos / horde.Whole(1)) }},
			{name: "usage_multiplier", schema: number(0.1, 10),
				take: func(a *args, name string, c *change) { c.UsagePermille = new(int64(a.number(name, 1)*1000 + 0.5)) },
				told: func(_ change, u user) any { return float64(u.UsagePermille) / 1000 }},
			role("moderator", horde.RoleModerator, func(c *change) **bool { return &c.Moderator }),
			count("concurrency", 0, 500, func(c *change) **int { return &c.Concurrency }, func(u user) int { return u.Concurrency }),
			count("worker_invited", -1<<31, 1<<31-1, func(c *change) **int { return &c.WorkerInvited }, func(u user) int { return u.WorkerInvited }),
			role("trusted", horde.RoleTrusted, func(c *change) **bool { return &c.Trusted }),
			role("flagged", horde.RoleFlagged, func(c *change) **bool { return &c.Flagged }),
			role("customizer", horde.RoleCustomizer, func(c *change) **bool { return &c.Customizer }),
			role("vpn", horde.RoleVPN, func(c *change) **bool { return &c.VPN }),
			role("service", horde.RoleService, func(c *change) **bool { return &c.Service }),
			education,
			role("special", horde.RoleSpecial, func(c *change) **bool { return &c.Special }),
			as("new_suspicion", order("reset_suspicion", func(c *change) { c.ResetSuspicion = true }, func(_ change, u user) any { return u.Suspicion })),
			wording("admin_comment", 5, 500, func(c *change) **string { return &c.AdminComment }, func(u user) string { return u.AdminComment }),
			toggle("public_workers", func(c *change) **bool { return &c.PublicWorkers }, func(u user) bool { return u.PublicWorkers }),
			wording("username", 3, 100, func(c *change) **string { return &c.Name }, func(u user) string { return u.Name }),
			wording("contact", 5, 500, func(c *change) **string { return &c.Contact }, func(u user) string { return u.Contact }),
			as("proxy_passkey", order("generate_proxy_passkey", func(c *change) { c.Passkey = "wanted" }, func(c change, _ user) any { return c.Passkey })),
			as("undeleted", order("undelete", func(c *change) { c.Undelete = true }, func(_ change, u user) any { return !u.Is(horde.RoleDeleted) })),
			order("filtered", func(*change) {}, nil), // the reference takes and ignores it
			reasonSetting[change, user](func(c *change) *string { return &c.Reason }),
		},
		find:   func(r *http.Request) (user, error) { return s.userByID(r.Context(), r.PathValue("user_id")) },
		judge:  s.judgeUserChange,
		update: func(ctx context.Context, c change) (user, error) { return s.deps.Registry.UpdateUser(ctx, c) },
	}
}

// judgeUserChange says who changes whom, and makes the passkey that is wanted.
func (s *Server) judgeUserChange(actor, target horde.User, c *UserChange) (err error) {
	c.Actor, c.Target = actor.ID, target.ID
	if err := s.checkUserTexts(actor, c); err != nil {
		return err
	}
	if c.Passkey != "" {
		c.Passkey, err = newSecret(s.secrets())
	}
	return err
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
