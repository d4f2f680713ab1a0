package ledger

import (
	"slices"

	"hordenode/internal/horde"
)

// checkCommunity verifies the lists that point both ways: teams and workers, shared keys,
// owners and styles, names and what has them, messages and who they are for.
func (s *state) checkCommunity(wrong func(format string, args ...any)) {
	inTeams := 0
	s.teams.all(func(id horde.TeamID, t *team) bool {
		if got := s.teamNames.get(t.Fold); got == nil || *got != id {
			wrong("team %v: its name is not indexed", id)
		}
		for _, w := range t.Workers {
			inTeams++
			if row := s.worker(w); row == nil || row.Team != id {
				wrong("team %v: worker %v is not in it", id, w)
			}
		}
		return true
	})
	s.workers.all(func(_ horde.WorkerID, w *worker) bool {
		if !w.Team.IsZero() {
			inTeams--
		}
		return true
	})
	if inTeams != 0 || s.teamNames.live != s.teams.live {
		wrong("%d team members too many, %d teams, %d names", inTeams, s.teams.live, s.teamNames.live)
	}

	s.sharedKeys.all(func(id horde.SharedKeyRef, k *sharedKey) bool {
		if k.Kudos < 0 && k.Kudos != horde.Unlimited || k.Utilized < 0 {
			wrong("shared key %v: %v left, %v used", id, k.Kudos, k.Utilized)
		}
		if !slices.Contains(s.sharedKeysOf(k.Owner), id) {
			wrong("shared key %v: user %d does not list it", id, k.Owner)
		}
		for _, st := range k.Styles {
			if row := s.styles.get(st); row == nil || row.SharedKey != id {
				wrong("shared key %v: style %v does not use it", id, st)
			}
		}
		return true
	})
	checkListed(wrong, "shared keys of users", s.keysOf, s.sharedKeys.live)
	checkListed(wrong, "styles of users", s.stylesOf, s.styles.live)
	checkListed(wrong, "styles of names", s.styleNames, s.styles.live)
	checkListed(wrong, "collections of users", s.collectionsOf, s.collections.live)
	checkListed(wrong, "collections of names", s.collectionNames, s.collections.live)
	checkListed(wrong, "messages", s.messagesTo, s.messages.live)

	s.styles.all(func(id horde.StyleID, st *style) bool {
		if k := s.sharedKeys.get(st.SharedKey); !st.SharedKey.IsZero() && (k == nil || !slices.Contains(k.Styles, id)) {
			wrong("style %v: its shared key does not know it", id)
		}
		names := s.styleNames.get(st.Name)
		if names == nil || !slices.Contains(*names, id) || !slices.Contains(s.ids(s.stylesOf, st.Owner), id) {
			wrong("style %v: it is not indexed", id)
		}
		primary := 0
		for _, e := range st.Examples {
			if e.Primary {
				primary++
			}
		}
		if len(st.Examples) > maxExamples || primary != min(1, len(st.Examples)) {
			wrong("style %v: %d of %d examples are primary", id, primary, len(st.Examples))
		}
		return true
	})
	s.collections.all(func(id horde.StyleID, c *collection) bool {
		names := s.collectionNames.get(c.Name)
		if names == nil || !slices.Contains(*names, id) || !slices.Contains(s.ids(s.collectionsOf, c.Owner), id) {
			wrong("collection %v: it is not indexed", id)
		}
		for _, st := range c.Styles {
			if row := s.styles.get(st); row == nil || row.Kind != c.Kind {
				wrong("collection %v: style %v is not there or of another kind", id, st)
			}
		}
		return true
	})
	s.messages.all(func(id horde.MessageID, m *message) bool {
		if !slices.Contains(s.addressed(m.Worker), id) {
			wrong("message %v: it is not indexed", id)
		}
		return true
	})
	s.users.all(func(id horde.UserID, u *user) bool {
		if err := s.checkStatement(id, u); err != nil {
			wrong("user %d: statement: %w", id, err)
		}
		return true
	})
}

// checkListed compares the lengths of all lists of an index with how much there is to list.
func checkListed[K comparable, V any](wrong func(format string, args ...any), what string, t *table[K, []V], want int) {
	got := 0
	t.all(func(k K, list *[]V) bool {
		got += len(*list)
		if len(*list) == 0 {
			wrong("%s: %v has an empty list", what, k)
		}
		return true
	})
	if got != want {
		wrong("%s: %d are listed, %d are there", what, got, want)
	}
}
