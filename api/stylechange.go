package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"hordenode/internal/horde"
)

// styleRequest is the body of POST and PATCH /styles; nil fields were not sent.
type styleRequest struct {
	name, info, prompt *string
	params             members
	models, tags       []string
	public, nsfw       *bool
	key                *string
	agent              string
}

const (
	maxStyleModels = 5
	maxStyleTags   = 10
)

// styleSchema is the body of POST and PATCH /styles. Params are those of a request: what the
// style does not show of them applies nevertheless.
func styleSchema(kind horde.Kind, created bool) *schema {
	shortestInfo, shortestPrompt := 1, 7
	params := imageRequestSchema().member("params")
	if created {
		shortestInfo = 10
	}
	if kind == horde.KindText {
		params = textRequestSchema().member("params")
		if created {
			shortestPrompt = 3
		}
	}
	return object(
		field{"name", created, text(1, 100)},
		may("info", text(shortestInfo, 1000)),
		may("prompt", text(shortestPrompt, maxStylePrompt)),
		may("params", params),
		may("public", flag()),
		may("nsfw", flag()),
		may("tags", list(text(1, 25), 0, 100)),
		may("models", list(text(1, 255), 0, 100)),
		may("sharedkey", text(36, 36)),
	)
}

// maxStylePrompt is the length of a style's prompt, in characters.
const maxStylePrompt = 10_000

// member is the schema of a member of an object.
func (s *schema) member(name string) *schema {
	i := slices.IndexFunc(s.fields, func(f field) bool { return f.name == name })
	return s.fields[i].schema
}

func (q *styleRequest) read(a *args) {
	a.apikey()
	q.agent = clientAgent(a.r)
	q.name = a.optStr("name", 100)
	q.info = a.optStr("info", 1000)
	q.prompt = a.optStr("prompt", maxStylePrompt)
	q.params, _ = a.value("params").(map[string]any)
	q.public = a.optFlag("public")
	q.nsfw = a.optFlag("nsfw")
	q.tags = a.strs("tags", 100)
	q.models = a.strs("models", 100)
	q.key = a.optStr("sharedkey", 36)
}

// counts checks how many models and tags are given.
func (q *styleRequest) counts(created bool) error {
	switch {
	case (created || q.models != nil) && len(q.models) == 0:
		return horde.Refuse(horde.RCBadRequest, "A style needs a model.")
	case len(q.models) > maxStyleModels:
		return horde.Refuse(horde.RCBadRequest, "A style has %d models at most.", maxStyleModels)
	case len(q.tags) > maxStyleTags:
		return horde.Refuse(horde.RCBadRequest, "A style has %d tags at most.", maxStyleTags)
	}
	return nil
}

// checkTexts judges the texts that a style shows, and makes them safe to show.
func (q *styleRequest) checkTexts(s *Server) error {
	for _, text := range slices.Concat(given(q.name, q.info), q.tags, q.models) {
		if s.isProfane(text) {
			return horde.Refuse(horde.RCBadRequest, "A text of the style is profane.")
		}
	}
	if q.name != nil {
		q.name = new(sanitize(*q.name))
	}
	if q.info != nil {
		q.info = new(cleanText(*q.info))
	}
	return nil
}

// given are the texts that are there.
func given(texts ...*string) []string {
	var out []string
	for _, t := range texts {
		if t != nil {
			out = append(out, *t)
		}
	}
	return out
}

// sharedKey finds the key that is to pay for the style, be it another user's: who knows its
// id may use it. Zero: none was given.
func (q *styleRequest) sharedKey(ctx context.Context, s *Server) (ref horde.SharedKeyRef, err error) {
	if q.key == nil {
		return ref, nil
	}
	k, err := s.sharedKeyByID(ctx, *q.key)
	switch {
	case errors.Is(err, horde.RCInvalidAPIKey):
		return ref, horde.Refuse(horde.RCBadRequest, "There is no such shared key.")
	case err != nil:
		return ref, err
	}
	if rc := k.Valid(s.now()); rc != "" {
		return ref, horde.Refuse(horde.RCBadRequest, "The shared key is empty or has expired.")
	}
	return k.Ref, nil
}

// encoded is the params as they are kept, nil if none were given.
func (q *styleRequest) encoded() ([]byte, error) {
	if q.params == nil {
		return nil, nil
	}
	raw, err := json.Marshal(q.params)
	if err != nil {
		return nil, fmt.Errorf("encode the params of a style: %w", err)
	}
	return raw, nil
}

// styleAnswer is the answer of writes to styles and collections.
type styleAnswer struct {
	ID       horde.StyleID `json:"id"`
	Message  string        `json:"message"`
	Warnings []warning     `json:"warnings,omitzero"` // nil: not shown, as for texts
}

// createStyle serves POST /api/v2/styles/image and text.
func (s *Server) createStyle(w http.ResponseWriter, r *http.Request, kind horde.Kind) error {
	var q styleRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if err := q.counts(true); err != nil {
		return err
	}
	u, err := s.user(r)
	switch {
	case err != nil:
		return err
	case !u.Is(horde.RoleCustomizer) && !u.Is(horde.RoleTrusted):
		return horde.Refuse(horde.RCStylesRequiresCustomizer, "Only customizers and trusted users can make styles.")
	}
	if err := q.checkTexts(s); err != nil {
		return err
	}
	key, err := q.sharedKey(r.Context(), s)
	if err != nil {
		return err
	}
	switch {
	case u.Is(horde.RoleDeleted):
		return horde.Refuse(horde.RCDeletedUser, "This account is being deleted.")
	case bodyOf(r).hasNUL():
		return errNUL()
	}
	if _, taken := s.deps.Community.StyleByName(&u.ID, *q.name, nil); taken {
		return styleNameTaken()
	}
	raw, err := q.encoded()
	if err != nil {
		return err
	}
	st := horde.Style{
		Kind:   kind,
		Name:   *q.name,
		Owner:  u.ID,
		Prompt: "{p}{np}",
		Params: raw,
		Models: q.models,
		Tags:   q.tags,
		Public: q.public == nil || *q.public,
		NSFW:   q.nsfw != nil && *q.nsfw,
	}
	if q.info != nil {
		st.Info = *q.info
	}
	if q.prompt != nil {
		st.Prompt = *q.prompt
	}
	warnings, err := s.checkStyle(u, st)
	if err != nil {
		return err
	}
	st, err = s.deps.Community.CreateStyle(r.Context(), NewStyle{
		Actor: u.ID, Kind: kind, Name: st.Name, Info: st.Info, Prompt: st.Prompt, Params: st.Params,
		Models: st.Models, Tags: st.Tags, Public: st.Public, NSFW: st.NSFW, SharedKey: key,
	})
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, styleAnswer{st.ID, "OK", warnings})
}

func styleNameTaken() error {
	return horde.Refuse(horde.RCBadRequest, "You have a style of this name already.")
}

// changeStyle serves PATCH /api/v2/styles/image/{style_id} and text. Unlike in the
// reference, what is not sent stays as it is; only of image styles the name has to be sent,
// as clients know it.
func (s *Server) changeStyle(w http.ResponseWriter, r *http.Request, kind horde.Kind) error {
	var q styleRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if kind == horde.KindImage && q.name == nil {
		return invalid("name", "The field name is needed. Missing required parameter in the JSON body")
	}
	if err := q.counts(false); err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	st, err := s.styleByID(r.Context(), r.PathValue("style_id"), horde.RCStyleNotFound)
	switch {
	case err != nil:
		return err
	case st.Owner != u.ID:
		return horde.Refuse(horde.RCForbidden, "Only its owner can change a style.")
	case st.Kind != kind:
		return wrongKind(st)
	case bodyOf(r).hasNUL():
		return errNUL()
	}
	if err := q.checkTexts(s); err != nil {
		return err
	}
	c := StyleChange{
		Actor: u.ID, Style: st.ID, Name: q.name, Info: q.info, Prompt: q.prompt,
		Models: q.models, Tags: q.tags, Public: q.public, NSFW: q.nsfw,
	}
	if c.Params, err = q.encoded(); err != nil {
		return err
	}
	if q.key != nil {
		key, err := q.sharedKey(r.Context(), s)
		if err != nil {
			return err
		}
		c.SharedKey = &key
	}
	if q.name != nil && *q.name != st.Name {
		if _, taken := s.deps.Community.StyleByName(&u.ID, *q.name, nil); taken {
			return styleNameTaken()
		}
	}
	warnings, err := s.checkStyle(u, q.applied(st, c.Params))
	if err != nil {
		return err
	}
	if st, err = s.deps.Community.UpdateStyle(r.Context(), c); err != nil {
		return err
	}
	return encode(w, http.StatusOK, styleAnswer{st.ID, "OK", warnings})
}

// applied is a style as it will be, as far as it is checked.
func (q *styleRequest) applied(st horde.Style, params []byte) horde.Style {
	if q.prompt != nil {
		st.Prompt = *q.prompt
	}
	if params != nil {
		st.Params = params
	}
	if q.models != nil {
		st.Models = q.models
	}
	return st
}

// deleteStyle serves DELETE /api/v2/styles/image/{style_id} and text, whichever it is of.
func (s *Server) deleteStyle(w http.ResponseWriter, r *http.Request) error {
	u, err := s.user(r)
	switch {
	case err != nil:
		return err
	case u.ID == horde.Anonymous:
		return horde.Refuse(horde.RCStylesAnonForbidden, "Anonymous has no styles.")
	}
	st, err := s.styleByID(r.Context(), r.PathValue("style_id"), horde.RCStyleNotFound)
	if err != nil {
		return err
	}
	if err := s.deps.Community.DeleteStyle(r.Context(), u.ID, st.ID); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}

// checkStyle applies the rules of requests to a style, and those of its prompt. Of image
// styles it also tells where the params are not what a model was made for.
func (s *Server) checkStyle(owner horde.User, st horde.Style) ([]warning, error) {
	p, err := styleParams(st)
	if err != nil {
		return nil, err
	}
	if st.Kind == horde.KindText {
		var o textOrder
		o.readParams(p)
		if err := cmp.Or(p.err, o.check()); err != nil {
			return nil, err
		}
		if !strings.Contains(st.Prompt, "{p}") {
			return nil, horde.Refuse(horde.RCBadRequest, "The prompt of a text style must contain {p}.")
		}
		return nil, nil
	}
	o := imageOrder{order: order{prompt: st.Prompt, models: st.Models, payer: owner, n: 1}}
	o.params.read(p)
	if p.err != nil {
		return nil, p.err
	}
	for _, check := range []check{
		checkHiresFix, checkLoRAs, checkTransparentModel, checkWorkflowModel, checkPromptSize,
		checkModelNames, checkUpscalers, checkCFG, checkSpecialModels, checkSpecialField,
	} {
		if err := check(s, &o); err != nil {
			return nil, err
		}
	}
	if !strings.Contains(st.Prompt, "{p}") || !strings.Contains(st.Prompt, "{np}") {
		return nil, horde.Refuse(horde.RCBadRequest, "The prompt of an image style must contain {p} and {np}.")
	}
	return append([]warning{}, s.warnings(&o)...), nil
}
