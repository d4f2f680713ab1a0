package api

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"hordenode/internal/horde"
)

// What becomes of a prompt (spec/moderation.md sections 8.2 to 8.4):
//
//	image, score 2 ──► rewritten by the replacement filter, unless the client forbade that
//	               └─► else refused: CorruptPrompt, a suspicion, a timeout of the address
//	NSFW model and a word of youth, or a flagged user ──► made about adults, or refused
//
// Texts are not scored. All of it takes time linear in the prompt's length.
const (
	maxReplaced  = 7000 // characters of a positive prompt that is rewritten
	notWithYouth = "child, infant, underage, immature, teenager, tween"
)

// judgePrompt refuses an order's prompt, rewrites it, or leaves it as it is.
func (s *Server) judgePrompt(r *http.Request, kind horde.Kind, o *order) error {
	ip := s.effectiveIP(r)
	if until, out := s.timedOut(ip); out {
		return timeoutIP(until.Sub(s.now()))
	}
	if s.deps.Community == nil {
		return nil
	}
	filter := s.promptFilter()
	rewritten := false
	if kind == horde.KindImage {
		positive, _, _ := strings.Cut(o.prompt, "###")
		if utf8.RuneCountInString(positive) > maxScored {
			return horde.Refuse(horde.RCInvalidPromptSize, "The prompt has more than %d characters before ###.", maxScored)
		}
		if points, _ := filter.score(o.prompt); points >= blockedScore {
			if o.replace || o.payer.Is(horde.RoleEducation) {
				prompt, ok, err := filter.replace(o.prompt)
				if err != nil {
					return err
				}
				if rewritten = ok; ok {
					o.prompt = prompt
				}
			}
			if !rewritten {
				return s.corrupt(r, o)
			}
		}
	}
	if !o.payer.Is(horde.RoleFlagged) && !s.adultsOnly(filter, kind, o) {
		return nil
	}
	if !rewritten {
		prompt, _, err := filter.replace(o.prompt)
		if err != nil {
			return err
		}
		o.prompt = prompt
	}
	keepTags := len(o.models) == 1 && o.models[0] == "Hentai Diffusion"
	o.prompt = aboutAdults(o.prompt, keepTags)
	if positive, _, _ := strings.Cut(o.prompt, "###"); strings.TrimSpace(positive) == "" {
		return horde.Refuse(horde.RCCorruptPrompt, "This prompt cannot be made with this model.")
	}
	return nil
}

// adultsOnly tells whether an order has a model made for adults and a prompt about youth.
func (s *Server) adultsOnly(filter *promptFilter, kind horde.Kind, o *order) bool {
	if s.deps.NSFW == nil || !slices.ContainsFunc(o.models, func(m string) bool { return s.deps.NSFW(kind, m) }) {
		return false
	}
	_, text := scoredText(o.prompt)
	if anyYouth.MatchString(text) {
		return true
	}
	points, _ := filter.scoreType(o.prompt, filterSubject)
	return points > 0
}

// corrupt refuses a prompt. For all but moderators that is a suspicion, and a timeout for the
// address. The prompt itself is kept nowhere.
func (s *Server) corrupt(r *http.Request, o *order) error {
	refusal := horde.Refuse(horde.RCCorruptPrompt, "This prompt was refused: it looks like a request for something unethical. Please do not try to get around this.")
	if o.payer.Is(horde.RoleModerator) {
		return refusal
	}
	s.reportAddress(r.Context(), s.effectiveIP(r))
	s.countProxied(r)
	if s.deps.SuspectPrompt != nil {
		if err := s.deps.SuspectPrompt(r.Context(), o.payer.ID); err != nil {
			s.log.WarnContext(r.Context(), "suspicion not recorded", "user", o.payer.ID, "err", err)
		}
	}
	return refusal
}

// replace rewrites a prompt by the filters of the subject: their replacements take the place
// of what they match in the normalised positive part, and what is not wanted comes before the
// client's negative part. ok is false if nothing is left.
func (p *promptFilter) replace(prompt string) (replaced string, ok bool, err error) {
	positive, negative, _ := strings.Cut(prompt, "###")
	if utf8.RuneCountInString(positive) > maxReplaced {
		return "", false, horde.Refuse(horde.RCBadRequest, "This prompt has to be rewritten, and can have %d characters at most for that.", maxReplaced)
	}
	text := normalisePrompt(positive)
	scan := p.set.Scan(text)
	for _, f := range p.byType[filterSubject] {
		if _, _, found := scan.Find(f.at); !found {
			continue
		}
		text = f.rule.ReplaceAll(text, f.Replacement)
		if len(text) > maxScored { // replacements that are replaced again
			return "", false, nil
		}
		scan = p.set.Scan(text)
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", false, nil
	}
	text += "###" + notWithYouth
	if negative != "" {
		text += ", " + negative
	}
	return text, true, nil
}

// The words of youth. They are ours, few and in English: federations add filters of their own.
var (
	youngWords = regexp.MustCompile(`(?i)\b(?:students?|young(?:er|est|sters?)?|lil|little|smol|small(?:er|est)?|tiny\w*|youth\w*|(?:pre)?teen\w*|tweens?|toddlers?|infants?|child\w*|kids?|bab(?:y|ies)|under ?age\w*)\b`)
	girlWords  = regexp.MustCompile(`(?i)(?:school)?girls?|\bninas?\b`)
	boyWords   = regexp.MustCompile(`(?i)(?:school)?boys?\b|\bsons?\b`)
	anyYouth   = regexp.MustCompile(youngWords.String() + "|" + girlWords.String() + "|" + boyWords.String())
)

// aboutAdults puts adults in place of the young in the positive part of a prompt. With
// keepTags the tags 1girl and 1boy stay.
func aboutAdults(prompt string, keepTags bool) string {
	positive, negative, split := strings.Cut(prompt, "###")
	positive = youngWords.ReplaceAllLiteralString(positive, "adult")
	positive = replaceWords(girlWords, positive, "adult woman", keepTags)
	positive = replaceWords(boyWords, positive, "adult man", keepTags)
	if split {
		positive += "###" + negative
	}
	return positive
}

func replaceWords(re *regexp.Regexp, s, with string, keepTags bool) string {
	var b strings.Builder
	at := 0
	for _, m := range re.FindAllStringIndex(s, -1) {
		if keepTags && m[0] > 0 && s[m[0]-1] == '1' {
			continue
		}
		b.WriteString(s[at:m[0]])
		b.WriteString(with)
		at = m[1]
	}
	return b.String() + s[at:]
}
