package api

import "strings"

// sanitize makes a name harmless: no markup, no blanks around it, nothing that is not seen
// (tidyName).
func sanitize(s string) string {
	return strings.TrimSpace(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\x00", "").Replace(tidyName(s)))
}

// isProfane tells whether a name or a text shown to others holds a word that the operator
// does not want there (Config.Profanity).
func (s *Server) isProfane(text string) bool {
	text = strings.ToLower(text)
	for _, word := range s.cfg.Profanity {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// defaultProfanity is short on purpose: what is profane is the operator's business.
func defaultProfanity() []string { return []string{"fuck", "cunt"} }
