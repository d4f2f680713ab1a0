package api

import (
	"context"
	"slices"
	"time"

	"hordenode/internal/horde"
)

// Community is what people make and moderate together, as the ledger keeps it. Reads are of
// local state. Each write names its actor, whose authority the ledger judges, and returns
// when it is committed and visible everywhere; a refusal is a *horde.Error.
// *ledger.Client implements it but for the types of its arguments, which node converts.
type Community interface {
	Teams
	SharedKeys
	Styles
	Collections
	WorkerMessages
	Filters
}

// Teams are groups of workers.
type Teams interface {
	// Teams returns all teams, oldest first.
	Teams() []horde.Team
	// Team finds a team.
	Team(horde.TeamID) (horde.Team, bool)
	// TeamByName finds a team by its name in upper or lower case.
	TeamByName(name string) (horde.Team, bool)
	// CreateTeam makes a team.
	CreateTeam(ctx context.Context, t NewTeam) (horde.Team, error)
	// UpdateTeam makes all changes or none and returns the team afterwards.
	UpdateTeam(ctx context.Context, c TeamChange) (horde.Team, error)
	// DeleteTeam removes a team and returns it as it was; its workers are in none.
	DeleteTeam(ctx context.Context, actor horde.UserID, id horde.TeamID) (horde.Team, error)
}

// A NewTeam is a team that is to be made.
type NewTeam struct {
	Actor      horde.UserID
	Name, Info string
}

// A TeamChange is what PATCH /teams may change; nil fields stay as they are.
type TeamChange struct {
	Actor      horde.UserID
	Team       horde.TeamID
	Name, Info *string
}

// SharedKeys let others spend their owner's kudos.
type SharedKeys interface {
	// SharedKey finds a shared key by its id.
	SharedKey(horde.SharedKeyID) (horde.SharedKey, bool)
	// SharedKeysOf returns a user's shared keys, oldest first.
	//
	// horde.RCUnavailable: this node cannot read the ids at the moment.
	SharedKeysOf(horde.UserID) ([]horde.SharedKeyID, error)
	// SharedKeyAt finds the shared key of a style or a request. Its ID may be zero: not known
	// here.
	SharedKeyAt(horde.SharedKeyRef) (horde.SharedKey, bool)
	// CreateSharedKey makes a shared key.
	CreateSharedKey(ctx context.Context, k NewSharedKey) (horde.SharedKey, error)
	// UpdateSharedKey makes all changes or none and returns the key afterwards.
	UpdateSharedKey(ctx context.Context, c SharedKeyChange) (horde.SharedKey, error)
	// DeleteSharedKey removes a shared key.
	DeleteSharedKey(ctx context.Context, actor horde.UserID, id horde.SharedKeyID) error
	// TransferToKey moves kudos to the owner of a shared key, whose limit they raise.
	TransferToKey(ctx context.Context, t KeyTransfer) error
}

// A NewSharedKey is a shared key that is to be made.
type NewSharedKey struct {
	Owner   horde.UserID
	Kudos   horde.Kudos // horde.Unlimited: no limit
	Expires time.Time   // zero: never
	Name    string

	MaxImagePixels, MaxImageSteps, MaxTextTokens int // -1: no limit
}

// A SharedKeyChange is what PATCH /sharedkeys may change; nil fields stay as they are.
type SharedKeyChange struct {
	Actor   horde.UserID
	Key     horde.SharedKeyID
	Kudos   *horde.Kudos
	Expires *time.Time // zero time: never
	Name    *string

	MaxImagePixels, MaxImageSteps, MaxTextTokens *int
}

// A KeyTransfer moves kudos to a shared key.
type KeyTransfer struct {
	From   horde.UserID
	To     horde.SharedKeyID
	Amount horde.Kudos
	Key    string // Idempotency-Key; may be empty
}

// Styles are stored prompts and parameters.
type Styles interface {
	// Styles returns a page of the public styles of a kind.
	Styles(kind horde.Kind, q StyleQuery) []horde.Style
	// Style finds a style.
	Style(horde.StyleID) (horde.Style, bool)
	// StyleByName finds the oldest style of that name; owner and kind may be nil: any.
	StyleByName(owner *horde.UserID, name string, kind *horde.Kind) (horde.Style, bool)
	// StylesOf returns a user's styles, oldest first.
	StylesOf(horde.UserID) []horde.Style
	// CreateStyle makes a style.
	CreateStyle(ctx context.Context, n NewStyle) (horde.Style, error)
	// UpdateStyle makes all changes or none and returns the style afterwards.
	UpdateStyle(ctx context.Context, c StyleChange) (horde.Style, error)
	// DeleteStyle removes a style.
	DeleteStyle(ctx context.Context, actor horde.UserID, id horde.StyleID) error
	// AddExample adds a picture to an image style and returns it.
	AddExample(ctx context.Context, n NewExample) (horde.StyleExample, error)
	// UpdateExample changes a picture and returns it.
	UpdateExample(ctx context.Context, c ExampleChange) (horde.StyleExample, error)
	// DeleteExample removes a picture.
	DeleteExample(ctx context.Context, actor horde.UserID, style, example horde.StyleID) error
}

// A StyleQuery selects and orders styles or collections.
type StyleQuery struct {
	Sort  string // "popular" (most used first) or "age" (oldest first)
	Page  int    // 1 is the first
	Tag   string // "": any
	Model string // "": any
}

// A NewStyle is a style that is to be made.
type NewStyle struct {
	Actor              horde.UserID
	Kind               horde.Kind
	Name, Info, Prompt string
	Params             []byte // JSON
	Models, Tags       []string
	Public, NSFW       bool
	SharedKey          horde.SharedKeyRef // zero: none
}

// A StyleChange is what PATCH /styles may change; nil fields stay as they are.
type StyleChange struct {
	Actor              horde.UserID
	Style              horde.StyleID
	Name, Info, Prompt *string
	Params             []byte
	Models, Tags       []string // not nil, be it empty: replaces all
	Public, NSFW       *bool
	SharedKey          *horde.SharedKeyRef
}

// A NewExample is a picture of a style.
type NewExample struct {
	Actor   horde.UserID
	Style   horde.StyleID
	URL     string
	Primary bool
}

// An ExampleChange changes a picture of a style; nil fields stay as they are.
type ExampleChange struct {
	Actor          horde.UserID
	Style, Example horde.StyleID
	URL            *string
	Primary        *bool
}

// Collections name several styles.
type Collections interface {
	// Collections returns a page of public collections; a nil kind is any.
	Collections(kind *horde.Kind, q StyleQuery) []horde.Collection
	// Collection finds a collection.
	Collection(horde.StyleID) (horde.Collection, bool)
	// CollectionByName finds the oldest collection of that name; a nil owner is anybody.
	CollectionByName(owner *horde.UserID, name string) (horde.Collection, bool)
	// CreateCollection makes a collection.
	CreateCollection(ctx context.Context, n NewCollection) (horde.Collection, error)
	// UpdateCollection makes all changes or none and returns the collection afterwards.
	UpdateCollection(ctx context.Context, c CollectionChange) (horde.Collection, error)
	// DeleteCollection removes a collection.
	DeleteCollection(ctx context.Context, actor horde.UserID, id horde.StyleID) error
}

// A NewCollection is a collection that is to be made.
type NewCollection struct {
	Actor      horde.UserID
	Kind       horde.Kind
	Name, Info string
	Public     bool
	Styles     []horde.StyleID
}

// A CollectionChange is what PATCH /collections may change; nil fields stay as they are.
type CollectionChange struct {
	Actor      horde.UserID
	Collection horde.StyleID
	Name, Info *string
	Public     *bool
	Styles     []horde.StyleID // not nil: replaces all
}

// WorkerMessages are what workers are told when they poll.
type WorkerMessages interface {
	// Messages returns all messages that are kept, expired ones included, oldest first.
	Messages() []horde.WorkerMessage
	// MessagesFor returns the messages to a worker and to all, expired ones included.
	MessagesFor(horde.WorkerID) []horde.WorkerMessage
	// Message finds a message.
	Message(horde.MessageID) (horde.WorkerMessage, bool)
	// PostMessage makes a message.
	PostMessage(ctx context.Context, n NewMessage) (horde.WorkerMessage, error)
	// DeleteMessage removes a message.
	DeleteMessage(ctx context.Context, actor horde.UserID, id horde.MessageID) error
}

// A NewMessage is a message that is to be made.
type NewMessage struct {
	Actor   horde.UserID
	Worker  horde.WorkerID // zero: to all
	Message string
	Origin  string
	Expires time.Time
}

// Filters are the expressions that prompts are checked with.
type Filters interface {
	// Filters returns all filters in the order of their ids.
	Filters() []horde.Filter
	// Filter finds a filter.
	Filter(id int64) (horde.Filter, bool)
	// PutFilter makes a filter, or returns the one that has the same expression and type.
	PutFilter(ctx context.Context, n NewFilter) (horde.Filter, error)
	// UpdateFilter makes all changes or none and returns the filter afterwards.
	UpdateFilter(ctx context.Context, c FilterChange) (horde.Filter, error)
	// DeleteFilter removes a filter.
	DeleteFilter(ctx context.Context, actor horde.UserID, id int64) error
}

// A NewFilter is a filter that is to be made.
type NewFilter struct {
	Actor       horde.UserID
	Regex       string
	Type        int
	Description string
	Replacement string
}

// A FilterChange is what PATCH /filters may change; nil fields stay as they are.
type FilterChange struct {
	Actor       horde.UserID
	Filter      int64
	Regex       *string
	Type        *int
	Description *string
	Replacement *string
}

// communityRoutes are the endpoints of all of them.
func (s *Server) communityRoutes() []route {
	return slices.Concat(
		s.teamRoutes(), s.sharedKeyRoutes(), s.styleRoutes(), s.exampleRoutes(), s.collectionRoutes(), s.messageRoutes(), s.filterRoutes(),
	)
}

// seek looks for something in local state and, as it may have been made at another node a
// moment ago, looks again when local state is as new as now. What is missing then is missing.
func seek[T any](ctx context.Context, s *Server, missing error, look func() (T, bool)) (T, error) {
	if v, ok := look(); ok {
		return v, nil
	}
	var none T
	if err := s.confirmMiss(ctx); err != nil {
		return none, err
	}
	if v, ok := look(); ok {
		return v, nil
	}
	return none, missing
}

// shortDate is a time as the API shows it.
func shortDate(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0000") }

// communityLimits are those of styles and collections: n in a time, and two a second.
func communityLimits(n int, per time.Duration) []limit {
	l := []limit{{n: n, per: per, by: byPath}, {n: 2, per: time.Second, by: byPath, relaxed: 10}}
	if per == time.Minute {
		l[0].relaxed = 300
	}
	return l
}
