package api

import (
	"context"
	"slices"
	"strings"

	"hordenode/internal/horde"
)

// A pickedStyle is the style that an order named, perhaps by a collection that it is in.
type pickedStyle struct {
	horde.Style
	collection horde.StyleID // zero: named itself
}

// findStyle finds the style that an order names by id or name; of a collection, one of its
// styles at random. A style of that kind goes before others of the same name.
func (s *Server) findStyle(ctx context.Context, kind horde.Kind, ref string) (pickedStyle, error) {
	missing := horde.Refuse(horde.RCStyleNotFound, "There is no style of this name or id.")
	if s.deps.Community == nil {
		return pickedStyle{}, missing
	}
	return seek(ctx, s, missing, func() (pickedStyle, bool) { return s.lookUpStyle(kind, ref) })
}

func (s *Server) lookUpStyle(kind horde.Kind, ref string) (pickedStyle, bool) {
	c := s.deps.Community
	if u, err := horde.ParseUUID(ref); err == nil {
		id := horde.StyleID{UUID: u}
		if st, ok := c.Style(id); ok {
			return pickedStyle{Style: st}, true
		}
		if col, ok := c.Collection(id); ok {
			return s.pickFrom(col)
		}
	}
	name := s.readStyleName(ref)
	if !name.collection {
		st, ok := c.StyleByName(name.owner, name.name, &kind)
		if !ok {
			st, ok = c.StyleByName(name.owner, name.name, nil)
		}
		if ok {
			return pickedStyle{Style: st}, true
		}
	}
	if !name.style {
		if col, ok := c.CollectionByName(name.owner, name.name); ok {
			return s.pickFrom(col)
		}
	}
	return pickedStyle{}, false
}

// pickFrom picks a style of a collection. Those that are gone do not count.
func (s *Server) pickFrom(col horde.Collection) (pickedStyle, bool) {
	var there []horde.Style
	for _, id := range col.Styles {
		if st, ok := s.deps.Community.Style(id); ok {
			there = append(there, st)
		}
	}
	if len(there) == 0 {
		return pickedStyle{}, false
	}
	return pickedStyle{there[s.cfg.Rand()%uint64(len(there))], col.ID}, true
}

// A restyle puts a style's params and prompt in place of an order's.
type restyle func(st horde.Style, params *args)

// applyStyle puts the style that the order names, if any, over it: models, prompt and params
// are the style's (spec/image.md section 3.3, spec/text.md section 2.4). A style's own shared
// key, while it is valid, pays for the whole request.
func (s *Server) applyStyle(ctx context.Context, kind horde.Kind, o *order, apply restyle) error {
	if o.style == "" {
		return nil
	}
	st, err := s.findStyle(ctx, kind, o.style)
	if err != nil {
		return err
	}
	if !st.SharedKey.IsZero() {
		if k, ok := s.deps.Community.SharedKeyAt(st.SharedKey); ok && k.Valid(s.now()) == "" {
			if o.payer, ok = s.deps.Accounts.User(k.Owner); ok {
				o.key, o.keyOf = &k, keyOfStyle
			}
		}
	}
	if st.Kind != kind {
		return horde.Refuse(horde.RCBadRequest, "This style is for %s generation.", st.Kind)
	}
	params, err := styleParams(st.Style)
	if err != nil {
		return err
	}
	o.models = slices.Clone(st.Models)
	apply(st.Style, params)
	if params.err != nil {
		return params.err
	}
	o.applied = &st
	return nil
}

// styledImagePrompt puts a client's prompt into a style's. Both may have a negative part after
// ###; a style's without one gets the client's.
func styledImagePrompt(template, prompt string) string {
	positive, negative, _ := strings.Cut(prompt, "###")
	if negative != "" && !strings.Contains(template, "###") && !strings.Contains(negative, "###") {
		negative = "###" + negative
	}
	return strings.NewReplacer("{p}", positive, "{np}", negative).Replace(template)
}

// styledTextPrompt puts a client's prompt into a style's; other placeholders become empty.
func styledTextPrompt(template, prompt string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, "}")
		switch {
		case !closed || !isPlaceholder(name):
			b.WriteByte('{')
			template = rest
			continue
		case name == "p":
			b.WriteString(prompt)
		}
		template = after
	}
}

// isPlaceholder tells a name from JSON and other braces.
func isPlaceholder(name string) bool {
	return name != "" && len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// restyle lays a style over an image order. Of the client's params n stays, and the size
// where the style has none.
func (o *imageOrder) restyle(st horde.Style, params *args) {
	width, height := o.params.width, o.params.height
	p := imageParams{}
	p.read(params)
	if !params.has("width") {
		p.width = width
	}
	if !params.has("height") {
		p.height = height
	}
	o.params = p
	o.prompt = styledImagePrompt(st.Prompt, o.prompt)
}

// restyle lays a style over a text order. Of the client's params only n stays.
func (o *textOrder) restyle(st horde.Style, params *args) {
	o.readParams(params)
	o.prompt = styledTextPrompt(st.Prompt, o.prompt)
}
