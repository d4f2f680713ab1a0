package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hordenode/internal/horde"
)

// transferPage is what the page to send kudos shows.
type transferPage struct {
	CSRF     string
	Once     string // names this transfer, so that a form sent twice moves kudos once
	From     string // who is logged in; "": the form asks for a key
	Balance  float64
	Username string // what was typed
	Amount   string
}

// showTransfer serves GET /transfer. The receiver may be given, for links.
func (s *Server) showTransfer(w http.ResponseWriter, r *http.Request) error {
	to := truncate(r.URL.Query().Get("to"), 200)
	return s.renderTransfer(w, r, http.StatusOK, page{}, transferPage{Username: to})
}

func (s *Server) renderTransfer(w http.ResponseWriter, r *http.Request, status int, p page, d transferPage) error {
	u, ok, err := s.visitor(r)
	if err != nil {
		return err
	}
	if ok {
		d.From, d.Balance = u.Alias(), kudosFloat(u.Kudos)
	}
	if d.CSRF, err = s.formToken(w, r, s.cookie(r, sessionCookie)); err != nil {
		return err
	}
	if d.Once == "" {
		if d.Once, err = newSecret(s.secrets()); err != nil {
			return err
		}
	}
	p.Title, p.Here, p.Body = "Send kudos", "/transfer", d
	return s.render(w, status, "transfer", p)
}

// sendKudos serves POST /transfer.
func (s *Server) sendKudos(w http.ResponseWriter, r *http.Request) error {
	form, err := s.postedForm(r)
	var sent float64
	if err == nil {
		sent, err = s.sendFrom(r, form)
	}
	status, text, rest := asRefusal(err)
	switch {
	case rest != nil:
		return rest
	case text != "":
		// The same name for the transfer: if it was done after all, it is not done again.
		once := truncate(form.Get("once"), maxOnce)
		if status < http.StatusInternalServerError {
			once = ""
		}
		return s.renderTransfer(w, r, status, page{Failed: text}, transferPage{Once: once, Username: truncate(form.Get("username"), 200), Amount: truncate(form.Get("amount"), 20)})
	}
	return s.renderTransfer(w, r, http.StatusOK, page{Done: groupedFloat(sent) + " kudos were sent to " + strings.TrimSpace(form.Get("username")) + "."}, transferPage{})
}

const maxOnce = 64 // bytes of what names a transfer

// sendFrom moves the kudos of a form, and returns how many.
func (s *Server) sendFrom(r *http.Request, form url.Values) (float64, error) {
	key := horde.APIKey(strings.TrimSpace(form.Get("apikey")))
	from, ok, err := s.visitor(r)
	if err == nil && (!ok || key != "") {
		from, err = s.ownAccount(r.Context(), key)
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(form.Get("amount")), 10, 64)
	if err != nil || n <= 0 || n > most {
		return 0, horde.Refuse(horde.RCBadRequest, "The amount must be a whole number of kudos.")
	}
	to, named := horde.ParseAlias(strings.TrimSpace(form.Get("username")))
	if !named || !strings.Contains(form.Get("username"), "#") {
		return 0, horde.Refuse(horde.RCInvalidTargetUsername, "Please write the receiver with the number, like name#7.")
	}
	once := form.Get("once")
	if once == "" || len(once) > maxOnce {
		return 0, staleForm()
	}
	err = s.deps.Registry.Transfer(r.Context(), Transfer{From: from.ID, To: to, Amount: horde.Whole(n), Key: "page " + once})
	return float64(n), err
}
