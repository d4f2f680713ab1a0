package ledger

import (
	"context"
	"slices"

	"hordenode/internal/horde"
)

// If a style has examples, exactly one of them is primary.

// A NewExample is a picture of what an image style does, to be added.
type NewExample struct {
	Actor   horde.UserID  `cbor:"1,keyasint,omitempty"`
	Style   horde.StyleID `cbor:"2,keyasint"`
	URL     string        `cbor:"3,keyasint"`
	Primary bool          `cbor:"4,keyasint,omitempty"` // the first one is in any case
}

// addExample is a NewExample on its way.
type addExample struct {
	ID  horde.StyleID `cbor:"1,keyasint"`
	New NewExample    `cbor:"2,keyasint"`
}

// AddExample adds a picture to an image style and returns it.
func (c *Client) AddExample(ctx context.Context, n NewExample) (horde.StyleExample, error) {
	id, err := c.newID()
	if err != nil {
		return horde.StyleExample{}, err
	}
	return decodeRow[horde.StyleExample](c.everywhere(ctx, encodeCommand(kindAddExample, addExample{horde.StyleID{UUID: id}, n})))
}

// apply decides in the order of spec/accounts.md section 9.5.
func (c *addExample) apply(tx *tx) ([]byte, error) {
	if err := tx.mayEditStyle(c.New.Actor, c.New.Style); err != nil {
		return nil, err
	}
	s := tx.styles.edit(c.New.Style)
	switch {
	case s.Kind != horde.KindImage:
		return nil, horde.Refuse(horde.RCBadRequest, "Only styles for images have examples.")
	case len(s.Examples) >= maxExamples:
		return nil, horde.Refuse(horde.RCForbidden, "A style has at most %d examples.", maxExamples)
	case c.ID.IsZero() || exampleAt(s, c.ID) >= 0:
		return nil, horde.Refuse(horde.RCBadRequest, "Such an example cannot be made.")
	}
	if err := checkExample(s, c.ID, c.New.URL); err != nil {
		return nil, err
	}
	e := horde.StyleExample{ID: c.ID, URL: c.New.URL, Primary: c.New.Primary || len(s.Examples) == 0}
	s.Examples = with(s.Examples, e)
	if e.Primary {
		makePrimary(s, c.ID)
	}
	return encode(e), nil
}

func exampleAt(s *style, id horde.StyleID) int {
	return slices.IndexFunc(s.Examples, func(e horde.StyleExample) bool { return e.ID == id })
}

func checkExample(s *style, id horde.StyleID, url string) error {
	if url == "" || len(url) > maxText {
		return horde.Refuse(horde.RCBadRequest, "An example needs an address of at most %d bytes.", maxText)
	}
	if slices.ContainsFunc(s.Examples, func(e horde.StyleExample) bool { return e.URL == url && e.ID != id }) {
		return horde.Refuse(horde.RCBadRequest, "This style has an example of this address already.")
	}
	return nil
}

// makePrimary makes one example primary and the others not. The list is the row's own.
func makePrimary(s *style, id horde.StyleID) {
	for i := range s.Examples {
		s.Examples[i].Primary = s.Examples[i].ID == id
	}
}

// An ExampleChange changes a picture of a style; nil fields stay as they are.
type ExampleChange struct {
	Actor   horde.UserID  `cbor:"1,keyasint,omitempty"`
	Style   horde.StyleID `cbor:"2,keyasint"`
	Example horde.StyleID `cbor:"3,keyasint"`
	URL     *string       `cbor:"4,keyasint,omitempty"`
	Primary *bool         `cbor:"5,keyasint,omitempty"`
}

// updateExample is an ExampleChange on its way.
type updateExample ExampleChange

// UpdateExample changes a picture and returns it.
func (c *Client) UpdateExample(ctx context.Context, e ExampleChange) (horde.StyleExample, error) {
	return decodeRow[horde.StyleExample](c.everywhere(ctx, encodeCommand(kindUpdateExample, e)))
}

func (c *updateExample) apply(tx *tx) ([]byte, error) {
	s, i, err := tx.editExamples(c.Actor, c.Style, c.Example)
	if err != nil {
		return nil, err
	}
	if c.URL != nil {
		if err := checkExample(s, c.Example, *c.URL); err != nil {
			return nil, err
		}
		s.Examples[i].URL = *c.URL
	}
	switch {
	case c.Primary == nil:
	case *c.Primary:
		makePrimary(s, c.Example)
	case s.Examples[i].Primary:
		return nil, horde.Refuse(horde.RCBadRequest, "Make another example the primary one instead.")
	}
	return encode(s.Examples[i]), nil
}

// editExamples returns a style with a list of examples that may be changed in place, and
// where in it the example is.
func (tx *tx) editExamples(actor horde.UserID, id, example horde.StyleID) (*style, int, error) {
	if err := tx.mayEditStyle(actor, id); err != nil {
		return nil, 0, err
	}
	s := tx.styles.edit(id)
	i := exampleAt(s, example)
	if i < 0 {
		return nil, 0, horde.Refuse(horde.RCStyleExampleNotFound, "The style has no such example.")
	}
	s.Examples = slices.Clone(s.Examples)
	return s, i, nil
}

// deleteExample removes a picture of a style.
type deleteExample struct {
	Actor   horde.UserID  `cbor:"1,keyasint,omitempty"`
	Style   horde.StyleID `cbor:"2,keyasint"`
	Example horde.StyleID `cbor:"3,keyasint"`
}

// DeleteExample removes a picture. If it was the primary one, the oldest of the others is.
func (c *Client) DeleteExample(ctx context.Context, actor horde.UserID, style, example horde.StyleID) error {
	_, err := c.everywhere(ctx, encodeCommand(kindDeleteExample, deleteExample{actor, style, example}))
	return err
}

func (c *deleteExample) apply(tx *tx) ([]byte, error) {
	s, i, err := tx.editExamples(c.Actor, c.Style, c.Example)
	if err != nil {
		return nil, err
	}
	was := s.Examples[i].Primary
	s.Examples = slices.Delete(s.Examples, i, i+1)
	if was && len(s.Examples) > 0 {
		s.Examples[0].Primary = true
	}
	return nil, nil
}
