package api

import (
	"net/http"

	"hordenode/internal/horde"
)

// statement is a page of an account's movements.
type statement struct {
	Balance float64
	Escrow  float64
	Lines   []statementLine
	Older   uint64 // number to go on with; 0: there are none
}

type statementLine struct {
	Number  uint64
	At      string
	Why     string
	With    string
	Request string
	Amount  float64
	After   float64 // the balance
	Escrow  bool
}

const movementsPerPage = 50

// renderStatement serves GET /profile/statement.
func (s *Server) renderStatement(w http.ResponseWriter, r *http.Request, u horde.User, status int, p page) error {
	d := statement{Balance: kudosFloat(u.Kudos), Escrow: kudosFloat(u.Escrow)}
	a := &args{r: r}
	before := uint64(max(a.queryInt("before", 0), 0))
	if s.deps.Book != nil {
		d.Lines, d.Older = s.statementLines(u.ID, before, movementsPerPage)
	}
	p.Title, p.Here, p.Body = "Statement", "/profile", d
	return s.render(w, status, "statement", p)
}

func (s *Server) statementLines(id horde.UserID, before uint64, limit int) (lines []statementLine, older uint64) {
	list := s.deps.Book.Statement(id, before, limit+1)
	for _, m := range list[:min(len(list), limit)] {
		l := statementLine{
			Number: m.Number, At: m.At.UTC().Format("2006-01-02 15:04"), Why: reasonText(m.Reason), Amount: kudosFloat(m.Amount),
			After: kudosFloat(m.Balance), Escrow: m.Escrow, With: m.With,
		}
		if m.Reason == "transfer" {
			l.Why = "Received from"
			if m.Amount < 0 {
				l.Why = "Sent to"
			}
		}
		if !m.Request.IsZero() {
			l.Request = m.Request.String()
		}
		lines = append(lines, l)
	}
	if len(list) > limit {
		older = list[limit-1].Number
	}
	return lines, older
}

// reasonText says in a sentence's beginning why kudos moved.
func reasonText(reason string) string {
	if text, ok := map[string]string{
		"tax": "Request taken on", "job": "Job done", "uptime": "Worker online", "award": "Awarded", "admin": "By an administrator",
		"monthly": "Monthly kudos", "trust": "No longer held back", "style": "A style was used", "forgiveness": "Raised to the minimum", "reversal": "Taken back", "test": "Set for a test",
	}[reason]; ok {
		return text
	}
	return "Other"
}
