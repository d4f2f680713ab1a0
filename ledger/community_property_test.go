package ledger

import (
	"testing"

	"pgregory.net/rapid"

	"hordenode/internal/horde"
)

// communityCommand makes the n-th kind of command about teams, keys, messages, filters,
// styles and collections.
func communityCommand(t *rapid.T, n int, user *rapid.Generator[horde.UserID], kudos *rapid.Generator[horde.Kudos],
	id *rapid.Generator[horde.UUID], worker *rapid.Generator[horde.WorkerID],
) []byte {
	name := rapid.SampledFrom([]string{"", "a", "A", "b", "c"})
	flag := rapid.Bool()
	actor := rapid.OneOf(rapid.Just(horde.UserID(1)), user).Draw(t, "actor")
	kind := horde.Kind(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "kind"))
	style := func(label string) horde.StyleID { return horde.StyleID{UUID: id.Draw(t, label)} }
	team := horde.TeamID{UUID: id.Draw(t, "team")}
	key := horde.SharedKeyRef{UUID: id.Draw(t, "key")}
	text := rapid.Ptr(name, true)
	at := start.UnixMilli() + rapid.Int64Range(-1000, 10_000_000).Draw(t, "time")
	switch n {
	case 0:
		s := name.Draw(t, "name")
		return encodeCommand(kindCreateTeam, createTeam{team, foldName(s), NewTeam{actor, s, "info"}})
	case 1:
		c := updateTeam{Change: TeamChange{actor, team, text.Draw(t, "name"), text.Draw(t, "info")}}
		if c.Change.Name != nil {
			c.Fold = foldName(*c.Change.Name)
		}
		return encodeCommand(kindUpdateTeam, c)
	case 2:
		return encodeCommand(kindDeleteTeam, deleteTeam{actor, team})
	case 3:
		return encodeCommand(kindCreateSharedKey, createSharedKey{Ref: key, Owner: actor, Kudos: kudos.Draw(t, "kudos"), Expires: at})
	case 4:
		return encodeCommand(kindUpdateSharedKey, updateSharedKey{Actor: actor, Key: key, Kudos: rapid.Ptr(kudos, true).Draw(t, "kudos"), Name: text.Draw(t, "name")})
	case 5:
		return encodeCommand(kindDeleteSharedKey, deleteSharedKey{actor, key})
	case 6:
		return encodeCommand(kindPostMessage, postMessage{
			ID: horde.MessageID{UUID: id.Draw(t, "message")}, Actor: actor, Worker: worker.Draw(t, "worker"), Text: name.Draw(t, "text"), Expires: at,
		})
	case 7:
		return encodeCommand(kindDeleteMessage, deleteMessage{actor, horde.MessageID{UUID: id.Draw(t, "message")}})
	case 8:
		return encodeCommand(kindPutFilter, NewFilter{actor, name.Draw(t, "regex"), rapid.IntRange(9, 12).Draw(t, "type"), "", "r"})
	case 9:
		return encodeCommand(kindUpdateFilter, FilterChange{Actor: actor, Filter: rapid.Int64Range(0, 4).Draw(t, "filter"), Regex: text.Draw(t, "regex")})
	case 10:
		return encodeCommand(kindDeleteFilter, deleteFilter{actor, rapid.Int64Range(0, 4).Draw(t, "filter")})
	case 11, 12:
		if flag.Draw(t, "plain") {
			key = horde.SharedKeyRef{}
		}
		return encodeCommand(kindCreateStyle, createStyle{style("style"), NewStyle{
			Actor: actor, Kind: kind, Name: name.Draw(t, "name"), Models: []string{"m"}, Public: flag.Draw(t, "public"), SharedKey: key,
		}})
	case 13:
		return encodeCommand(kindUpdateStyle, StyleChange{
			Actor: actor, Style: style("style"), Name: text.Draw(t, "name"), Tags: []string{"x"},
			SharedKey: rapid.Ptr(rapid.Just(key), true).Draw(t, "shared key"),
		})
	case 14:
		return encodeCommand(kindDeleteStyle, deleteStyle{actor, style("style")})
	case 15:
		return encodeCommand(kindAddExample, addExample{style("example"), NewExample{actor, style("style"), name.Draw(t, "url"), flag.Draw(t, "primary")}})
	case 16:
		return encodeCommand(kindUpdateExample, ExampleChange{actor, style("style"), style("example"), text.Draw(t, "url"), rapid.Ptr(flag, true).Draw(t, "primary")})
	case 17:
		return encodeCommand(kindDeleteExample, deleteExample{actor, style("style"), style("example")})
	case 18:
		return encodeCommand(kindCreateCollection, createCollection{style("collection"), NewCollection{
			Actor: actor, Kind: kind, Name: name.Draw(t, "name"), Public: flag.Draw(t, "public"), Styles: []horde.StyleID{style("first")},
		}})
	default:
		if flag.Draw(t, "delete") {
			return encodeCommand(kindDeleteCollection, deleteCollection{actor, style("collection")})
		}
		return encodeCommand(kindUpdateCollection, CollectionChange{
			Actor: actor, Collection: style("collection"), Name: text.Draw(t, "name"), Styles: []horde.StyleID{style("only")},
		})
	}
}

// The generator of histories reaches what it is there for: if this fails, TestAnyHistory
// proves little about communities.
func TestHistoriesReachCommunities(t *testing.T) {
	reached := map[string]bool{}
	gen := rapid.Custom(func(t *rapid.T) []byte { return anyCommand(horde.NodeID("node-a").Tag()).Draw(t, "command") })
	w := newWorld(t)
	for seed := range 12_000 {
		if _, err := w.answer(w.batch(gen.Example(seed))); err != nil {
			t.Fatal(err)
		}
		s := w.m.s
		for what, n := range map[string]int{
			"team": s.teams.live, "key": s.sharedKeys.live, "message": s.messages.live, "filter": s.filters.live,
			"style": s.styles.live, "collection": s.collections.live,
		} {
			reached[what] = reached[what] || n > 0
		}
		s.styles.all(func(_ horde.StyleID, st *style) bool {
			reached["use"] = reached["use"] || st.UseCount > 0
			reached["example"] = reached["example"] || len(st.Examples) > 0
			reached["attached"] = reached["attached"] || !st.SharedKey.IsZero()
			return true
		})
		s.teams.all(func(_ horde.TeamID, tm *team) bool {
			reached["member"] = reached["member"] || len(tm.Workers) > 0
			return true
		})
		s.sharedKeys.all(func(_ horde.SharedKeyRef, k *sharedKey) bool {
			reached["used key"] = reached["used key"] || k.Utilized > 0
			return true
		})
	}
	for _, what := range []string{"team", "key", "message", "filter", "style", "collection", "use", "example", "attached", "member", "used key"} {
		if !reached[what] {
			t.Errorf("no history reached: %s", what)
		}
	}
	w.check()
}
