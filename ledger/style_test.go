package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// newStyle is a style that can be made.
func newStyle(actor horde.UserID, name string) NewStyle {
	return NewStyle{Actor: actor, Kind: horde.KindImage, Name: name, Prompt: "{p}{np}", Params: []byte(`{"steps":5}`), Models: []string{"m"}, Public: true}
}

func TestStyleRefusals(t *testing.T) {
	w := newWorld(t)
	mod := w.person("mod", 0, horde.RoleModerator)
	author, other := w.person("author", 0, horde.RoleCustomizer), w.person("other", 0, horde.RoleTrusted)
	plain, deleted := w.person("plain", 0, 0), w.person("deleted", 0, horde.RoleTrusted)
	must(0, w.DeleteUser(w.ctx, deleted, deleted))(t)
	empty := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: other}))(t).Ref
	full := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: other, Kudos: 100}))(t).Ref
	style := must(w.CreateStyle(w.ctx, newStyle(author, "first")))(t)
	must(w.CreateStyle(w.ctx, newStyle(author, "second")))(t)
	nowhere := horde.StyleID{UUID: horde.UUID{9}}
	create := func(actor horde.UserID, change func(*NewStyle)) func() error {
		return func() error {
			n := newStyle(actor, "new")
			change(&n)
			return one(w.CreateStyle(w.ctx, n))
		}
	}
	update := func(c StyleChange) func() error { return func() error { return one(w.UpdateStyle(w.ctx, c)) } }
	remove := func(actor horde.UserID, id horde.StyleID) func() error {
		return func() error { return w.DeleteStyle(w.ctx, actor, id) }
	}
	same := func(*NewStyle) {}
	for _, tt := range []struct {
		name string
		do   func() error
		want horde.RC
	}{
		{"nobody", create(99, same), horde.RCInvalidAPIKey},
		{"anonymous", create(horde.Anonymous, same), horde.RCStylesRequiresCustomizer},
		{"no customizer", create(plain, same), horde.RCStylesRequiresCustomizer},
		{"deleted", create(deleted, same), horde.RCDeletedUser},
		{"deleted, with a bad key", create(deleted, func(n *NewStyle) { n.SharedKey = empty }), horde.RCBadRequest},
		{"unknown key", create(author, func(n *NewStyle) { n.SharedKey.UUID = horde.UUID{9} }), horde.RCBadRequest},
		{"same name", create(author, func(n *NewStyle) { n.Name = "first" }), horde.RCBadRequest},
		{"same name, another kind", create(author, func(n *NewStyle) { n.Name, n.Kind = "first", horde.KindText }), horde.RCBadRequest},
		{"another's name", create(other, func(n *NewStyle) { n.Name = "first" }), ""},
		{"another's shared key", create(author, func(n *NewStyle) { n.Name, n.SharedKey = "keyed", full }), ""},
		{"alchemy", create(author, func(n *NewStyle) { n.Kind = horde.KindAlchemy }), horde.RCBadRequest},
		{"no name", create(author, func(n *NewStyle) { n.Name = "" }), horde.RCBadRequest},
		{"long name", create(author, func(n *NewStyle) { n.Name = strings.Repeat("x", 101) }), horde.RCBadRequest},
		{"no model", create(author, func(n *NewStyle) { n.Models = nil }), horde.RCBadRequest},
		{"six models", create(author, func(n *NewStyle) { n.Models = make([]string, 6) }), horde.RCBadRequest},
		{"eleven tags", create(author, func(n *NewStyle) { n.Tags = make([]string, 11) }), horde.RCBadRequest},

		{"change an unknown one", update(StyleChange{Actor: author, Style: nowhere}), horde.RCStyleNotFound},
		{"change by nobody", update(StyleChange{Actor: 99, Style: style.ID}), horde.RCInvalidAPIKey},
		{"change by a moderator", update(StyleChange{Actor: mod, Style: style.ID, Name: ptr("x")}), horde.RCForbidden},
		{"rename to one's other", update(StyleChange{Actor: author, Style: style.ID, Info: ptr("x"), Name: ptr("second")}), horde.RCBadRequest},
		{"empty shared key", update(StyleChange{Actor: author, Style: style.ID, Name: ptr("x"), SharedKey: &empty}), horde.RCBadRequest},
		{"take all models away", update(StyleChange{Actor: author, Style: style.ID, Name: ptr("x"), Models: []string{}}), horde.RCBadRequest},
		{"its own name", update(StyleChange{Actor: author, Style: style.ID, Name: ptr("first")}), ""},

		{"delete an unknown one", remove(mod, nowhere), horde.RCStyleNotFound},
		{"delete by anonymous", remove(horde.Anonymous, style.ID), horde.RCStylesAnonForbidden},
		{"delete by a stranger", remove(other, style.ID), horde.RCForbidden},
		{"delete by a moderator", remove(mod, style.ID), ""},
		{"delete again", remove(mod, style.ID), horde.RCStyleNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) { w.try(t, tt.want, tt.do) })
	}
}

func TestStyleChanges(t *testing.T) {
	w := newWorld(t)
	author := w.person("author", 0, horde.RoleCustomizer)
	key := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: author, Kudos: 100}))(t).Ref
	n := newStyle(author, "first")
	n.Tags, n.SharedKey = []string{"tag"}, key
	made := must(w.CreateStyle(w.ctx, n))(t)
	if made.Name != "first" || made.SharedKey != key || string(made.Params) != `{"steps":5}` || !slices.Equal(made.Tags, n.Tags) {
		t.Errorf("made %+v", made)
	}
	if k, _ := w.SharedKeyAt(key); k.Styles != 1 {
		t.Errorf("the key serves %d styles", k.Styles)
	}
	got := must(w.UpdateStyle(w.ctx, StyleChange{Actor: author, Style: made.ID, Info: ptr("about"), Name: ptr("renamed")}))(t)
	if got.Info != "about" || got.Prompt != n.Prompt || !slices.Equal(got.Tags, n.Tags) || !slices.Equal(got.Models, n.Models) || got.SharedKey != key {
		t.Errorf("what was not given changed: %+v", got)
	}
	if _, ok := w.StyleByName(&author, "first", nil); ok {
		t.Error("it is found by its old name")
	}
	if s, ok := w.StyleByName(nil, "renamed", ptr(horde.KindImage)); !ok || s.ID != made.ID {
		t.Error("it is not found by its new name")
	}
	if _, ok := w.StyleByName(nil, "renamed", ptr(horde.KindText)); ok {
		t.Error("it is found as of another kind")
	}
	got = must(w.UpdateStyle(w.ctx, StyleChange{Actor: author, Style: made.ID, Tags: []string{}, SharedKey: &horde.SharedKeyRef{}}))(t)
	if len(got.Tags) != 0 || !got.SharedKey.IsZero() {
		t.Errorf("tags and key are %v, %v, want none", got.Tags, got.SharedKey)
	}
	must(w.UpdateStyle(w.ctx, StyleChange{Actor: author, Style: made.ID, SharedKey: &key}))(t)
	must(0, w.DeleteSharedKey(w.ctx, author, w.keysOf(author)[0]))(t)
	if s, _ := w.Style(made.ID); !s.SharedKey.IsZero() {
		t.Error("the style has a key that is gone")
	}
	w.check()
}

func TestStyleLists(t *testing.T) {
	w := newWorld(t)
	author := w.person("author", 0, horde.RoleCustomizer)
	var ids []horde.StyleID
	for i := range 30 {
		n := newStyle(author, fmt.Sprint("s", i))
		n.Public = i != 0
		if i%2 == 1 {
			n.Tags, n.Models = []string{"odd"}, []string{"m", "other"}
		}
		w.pass(time.Second)
		ids = append(ids, must(w.CreateStyle(w.ctx, n))(t).ID)
	}
	payer := w.person("payer", horde.Whole(100), 0)
	w.admit(horde.Admission{Payer: payer, Style: ids[20]})
	list := func(kind horde.Kind, q StyleQuery) (names []string) {
		for _, s := range w.Styles(kind, q) {
			names = append(names, s.Name)
		}
		return names
	}
	for _, tt := range []struct {
		name  string
		kind  horde.Kind
		q     StyleQuery
		n     int
		first string
	}{
		{"oldest", horde.KindImage, StyleQuery{Sort: "age", Page: 1}, 25, "s1"},
		{"most used", horde.KindImage, StyleQuery{Sort: "popular", Page: 1}, 25, "s20"},
		{"a page is one further", horde.KindImage, StyleQuery{Sort: "age", Page: 2}, 25, "s2"},
		{"the last", horde.KindImage, StyleQuery{Sort: "age", Page: 29}, 1, "s29"},
		{"behind the last", horde.KindImage, StyleQuery{Sort: "age", Page: 30}, 0, ""},
		{"no page", horde.KindImage, StyleQuery{Sort: "age"}, 25, "s1"},
		{"by tag", horde.KindImage, StyleQuery{Sort: "age", Page: 1, Tag: "odd"}, 15, "s1"},
		{"by model", horde.KindImage, StyleQuery{Sort: "age", Page: 1, Model: "other"}, 15, "s1"},
		{"by another tag", horde.KindImage, StyleQuery{Sort: "age", Page: 1, Tag: "od"}, 0, ""},
		{"texts", horde.KindText, StyleQuery{Sort: "age", Page: 1}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := list(tt.kind, tt.q)
			if len(got) != tt.n || len(got) > 0 && got[0] != tt.first {
				t.Errorf("got %v, want %d from %q", got, tt.n, tt.first)
			}
		})
	}
	if got := w.StylesOf(author); len(got) != 30 || got[0].Name != "s0" {
		t.Errorf("the author's styles: %d", len(got))
	}
}

func TestStyleUseIsRewarded(t *testing.T) {
	w := newWorld(t)
	author, payer := w.person("author", horde.Whole(100), horde.RoleCustomizer), w.person("payer", horde.Whole(100), 0)
	style := must(w.CreateStyle(w.ctx, newStyle(author, "s")))(t).ID
	set := must(w.CreateCollection(w.ctx, NewCollection{Actor: author, Kind: horde.KindImage, Name: "c", Styles: []horde.StyleID{style}}))(t).ID

	w.admit(horde.Admission{Payer: payer, Style: style})
	w.admit(horde.Admission{Payer: payer, Style: style, Collection: set, Tax: 300})
	w.admit(horde.Admission{Payer: author, Style: style, Collection: set})            // the author's own
	w.admit(horde.Admission{Payer: payer, Style: horde.StyleID{UUID: horde.UUID{9}}}) // deleted meanwhile
	w.try(t, horde.RCKudosUpfront, func() error {                                     // refused: no use
		return w.Admit(w.ctx, horde.Admission{Request: w.request(), Payer: payer, Slots: 1, Upfront: horde.Whole(99), Style: style})
	})
	u := w.user(author)
	if u.Kudos != horde.Whole(104) || u.Details.Styled != horde.Whole(4) || u.Records.Styles[horde.KindImage] != 2 {
		t.Errorf("the author has %v, %v for styles, %v records", u.Kudos, u.Details.Styled, u.Records.Styles)
	}
	if s, _ := w.Style(style); s.UseCount != 2 {
		t.Errorf("used %d times, want 2", s.UseCount)
	}
	if c, _ := w.Collection(set); c.UseCount != 1 {
		t.Errorf("the collection was used %d times, want 1", c.UseCount)
	}
	if got := w.Totals().Accounts[AccountStyle]; got != -horde.Whole(4) {
		t.Errorf("the style account has %v, want -4", got)
	}
	w.check()
}

func TestExamples(t *testing.T) {
	w := newWorld(t)
	mod, author, other := w.person("mod", 0, horde.RoleModerator), w.person("author", 0, horde.RoleCustomizer), w.person("other", 0, 0)
	style := must(w.CreateStyle(w.ctx, newStyle(author, "s")))(t).ID
	n := newStyle(author, "text")
	n.Kind = horde.KindText
	text := must(w.CreateStyle(w.ctx, n))(t).ID
	add := func(actor horde.UserID, to horde.StyleID, url string, primary bool) func() error {
		return func() error { return one(w.AddExample(w.ctx, NewExample{actor, to, url, primary})) }
	}
	w.try(t, horde.RCStyleNotFound, add(author, horde.StyleID{UUID: horde.UUID{9}}, "a", true))
	w.try(t, horde.RCForbidden, add(other, style, "a", true))
	w.try(t, horde.RCBadRequest, add(author, text, "a", true))
	w.try(t, horde.RCBadRequest, add(author, style, "", true))
	w.try(t, "", add(author, style, "a", false)) // the first is primary
	w.try(t, horde.RCBadRequest, add(author, style, "a", false))
	w.try(t, "", add(mod, style, "b", false))
	w.try(t, "", add(author, style, "c", true))
	w.try(t, "", add(author, style, "d", false))
	w.try(t, horde.RCForbidden, add(author, style, "e", false))

	state := func() (list string, ids []horde.StyleID) {
		s, _ := w.Style(style)
		for _, e := range s.Examples {
			list += e.URL
			if e.Primary {
				list += "!"
			}
			ids = append(ids, e.ID)
		}
		return list, ids
	}
	want := func(want string) {
		t.Helper()
		if got, _ := state(); got != want {
			t.Errorf("examples are %s, want %s", got, want)
		}
	}
	want("abc!d")
	_, ids := state()
	update := func(c ExampleChange) func() error { return func() error { return one(w.UpdateExample(w.ctx, c)) } }
	w.try(t, horde.RCStyleExampleNotFound, update(ExampleChange{Actor: author, Style: style, Example: style}))
	w.try(t, horde.RCForbidden, update(ExampleChange{Actor: other, Style: style, Example: ids[0]}))
	w.try(t, horde.RCBadRequest, update(ExampleChange{Actor: author, Style: style, Example: ids[0], URL: ptr("b")}))
	w.try(t, horde.RCBadRequest, update(ExampleChange{Actor: author, Style: style, Example: ids[2], URL: ptr("x"), Primary: ptr(false)}))
	w.try(t, "", update(ExampleChange{Actor: author, Style: style, Example: ids[3], URL: ptr("z"), Primary: ptr(true)}))
	want("abcz!")
	del := func(actor horde.UserID, id horde.StyleID) func() error {
		return func() error { return w.DeleteExample(w.ctx, actor, style, id) }
	}
	w.try(t, horde.RCForbidden, del(other, ids[3]))
	w.try(t, "", del(author, ids[3]))
	want("a!bc")
	w.try(t, "", del(mod, ids[1]))
	want("a!c")
	w.try(t, horde.RCStyleExampleNotFound, del(author, ids[1]))
}

func TestCollections(t *testing.T) {
	w := newWorld(t)
	mod, author, plain := w.person("mod", 0, horde.RoleModerator), w.person("author", 0, horde.RoleCustomizer), w.person("plain", 0, 0)
	deleted := w.person("deleted", 0, 0)
	must(0, w.DeleteUser(w.ctx, deleted, deleted))(t)
	a := must(w.CreateStyle(w.ctx, newStyle(author, "a")))(t).ID
	b := must(w.CreateStyle(w.ctx, newStyle(author, "b")))(t).ID
	n := newStyle(author, "text")
	n.Kind = horde.KindText
	text := must(w.CreateStyle(w.ctx, n))(t).ID
	nowhere := horde.StyleID{UUID: horde.UUID{9}}
	ids := func(s ...horde.StyleID) []horde.StyleID { return s }
	create := func(actor horde.UserID, name string, styles []horde.StyleID) func() error {
		return func() error {
			return one(w.CreateCollection(w.ctx, NewCollection{Actor: actor, Name: name, Public: true, Styles: styles}))
		}
	}
	first := must(w.CreateCollection(w.ctx, NewCollection{Actor: plain, Name: "first", Info: "i", Public: true, Styles: ids(a, b)}))(t)
	must(w.CreateCollection(w.ctx, NewCollection{Actor: plain, Kind: horde.KindText, Name: "second", Styles: ids(text)}))(t)
	update := func(c CollectionChange) func() error {
		return func() error { return one(w.UpdateCollection(w.ctx, c)) }
	}
	remove := func(actor horde.UserID, id horde.StyleID) func() error {
		return func() error { return w.DeleteCollection(w.ctx, actor, id) }
	}
	for _, tt := range []struct {
		name string
		do   func() error
		want horde.RC
	}{
		{"nobody", create(99, "x", ids(a)), horde.RCInvalidAPIKey},
		{"anonymous", create(horde.Anonymous, "x", ids(a)), horde.RCStylesAnonForbidden},
		{"deleted", create(deleted, "x", ids(a)), horde.RCDeletedUser},
		{"no styles", create(plain, "x", nil), horde.RCBadRequest},
		{"unknown style", create(plain, "x", ids(a, nowhere)), horde.RCBadRequest},
		{"mixed kinds", create(plain, "x", ids(a, text)), horde.RCBadRequest},
		{"no name", create(plain, "", ids(a)), horde.RCBadRequest},
		{"same name", create(plain, "first", ids(a)), horde.RCBadRequest},
		{"another's name", create(author, "first", ids(a)), ""},

		{"change an unknown one", update(CollectionChange{Actor: plain, Collection: nowhere}), horde.RCCollectionNotFound},
		{"change a style", update(CollectionChange{Actor: author, Collection: a}), horde.RCCollectionNotFound},
		{"change by a moderator", update(CollectionChange{Actor: mod, Collection: first.ID, Name: ptr("x")}), horde.RCForbidden},
		{"rename to one's other", update(CollectionChange{Actor: plain, Collection: first.ID, Info: ptr("x"), Name: ptr("second")}), horde.RCBadRequest},
		{"styles of another kind", update(CollectionChange{Actor: plain, Collection: first.ID, Name: ptr("x"), Styles: ids(text)}), horde.RCBadRequest},
		{"no styles any more", update(CollectionChange{Actor: plain, Collection: first.ID, Styles: []horde.StyleID{}}), horde.RCBadRequest},
		{"change", update(CollectionChange{Actor: plain, Collection: first.ID, Name: ptr("renamed"), Styles: ids(b, a)}), ""},

		{"delete an unknown one", remove(plain, nowhere), horde.RCCollectionNotFound},
		{"delete by a stranger", remove(author, first.ID), horde.RCForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) { w.try(t, tt.want, tt.do) })
	}
	got, ok := w.CollectionByName(&plain, "renamed")
	if !ok || got.Info != "i" || !slices.Equal(got.Styles, ids(b, a)) {
		t.Errorf("changed to %+v, %v", got, ok)
	}
	if list := w.Collections(nil, StyleQuery{Sort: "age", Page: 1}); len(list) != 2 { // one is private
		t.Errorf("collections are %+v", list)
	}
	if list := w.Collections(ptr(horde.KindText), StyleQuery{Sort: "age", Page: 1}); len(list) != 0 {
		t.Errorf("collections for texts are %+v", list)
	}
	w.try(t, "", func() error { return w.DeleteStyle(w.ctx, author, b) })
	if got, _ := w.Collection(first.ID); !slices.Equal(got.Styles, ids(a)) {
		t.Errorf("after a style was deleted: %v", got.Styles)
	}
	w.try(t, "", remove(mod, first.ID))
	if _, ok := w.CollectionByName(nil, "renamed"); ok {
		t.Error("a deleted collection is found")
	}
}
