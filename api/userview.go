package api

import (
	"context"
	"time"

	"hordenode/internal/horde"
)

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
		if ids, err := s.sharedKeysOf(u.ID); err == nil {
			d.SharedKeyIDs = ids
		}
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
		monthly := u.MonthlyKudos
		if u.PatronUntil.IsZero() || s.now().Before(u.PatronUntil) {
			monthly += u.PatronKudos
		}
		d.Monthly.Amount = new(int64(monthly / horde.Whole(1)))
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
