package api

import (
	"net/http"

	"hordenode/internal/horde"
)

// documents are what an operator has who has written none (Config.Documents), in the Markdown
// that documentHTML renders.
var documents = map[string]string{
	"terms": `# Terms of use

This node is run by volunteers and comes without any warranty. What you ask of it is worked on by computers of other volunteers.

Do not ask for, and do not deliver, what is illegal where you, this node or the workers are. Accounts that do are blocked.

Kudos are not money. They can be neither bought nor sold.`,

	"privacy": `# Privacy

A request and its result are kept by the node that took the request until the request expires. The worker that is given the request sees it, but not who sent it.

Your account, its balance and what it sent to others are kept by all nodes of the federation. Your API key is kept as a hash only.

If you log in by an account elsewhere, a hash of its number is kept, so that you find your account again. Of what the other side knows of you nothing is kept but the name that you choose.

Network addresses are used to limit abuse. They are kept in memory and not sent to other nodes. Only an address that is blocked for abuse is known to all nodes, as a keyed hash, until the block ends.

Cookies are set only for logging in and for forms, and end with it.`,

	"sponsors": `# Sponsors

This node names no sponsors. It is made possible by everybody who runs a worker or a node.`,
}

// document serves GET /api/v2/documents/{name}.
func (s *Server) document(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, ok := documents[name]; !ok {
		return plain(http.StatusNotFound, "There is no such document.")
	}
	text, err := s.documentText(name)
	if err != nil {
		return err
	}
	a := &args{r: r}
	switch a.query("format", "html") {
	case "markdown":
		return encode(w, http.StatusOK, struct {
			Markdown string `json:"markdown"`
		}{text})
	case "html":
		return encode(w, http.StatusOK, struct {
			HTML string `json:"html"`
		}{documentHTML(text)})
	}
	return horde.Refuse(horde.RCBadRequest, "format is html or markdown.")
}
