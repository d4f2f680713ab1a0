package node

import (
	"errors"
	"testing"

	"hordenode/internal/horde"
)

func TestPolicyAccepts(t *testing.T) {
	registered, trusted := horde.User{ID: 7, Class: horde.ClassRegistered}, horde.User{ID: 8, Class: horde.ClassRegistered, Roles: horde.RoleTrusted}
	anonymous := horde.User{ID: horde.Anonymous, Class: horde.ClassAnonymous}
	image := func(nsfw bool, models ...string) *horde.Request {
		return &horde.Request{Kind: horde.KindImage, Shape: horde.Shape{Kind: horde.KindImage, NSFW: nsfw, Models: models}}
	}
	text := &horde.Request{Kind: horde.KindText, Shape: horde.Shape{Kind: horde.KindText}}
	form := &horde.Request{Kind: horde.KindAlchemy, Shape: horde.Shape{Kind: horde.KindAlchemy, Models: []string{"caption"}}}
	for _, tt := range []struct {
		name   string
		policy Policy
		r      *horde.Request
		payer  horde.User
		want   error
	}{
		{"everything by default", Policy{}, image(true, "m"), anonymous, nil},
		{"a kind that is listed", Policy{AcceptKinds: []string{"text", "image"}}, text, registered, nil},
		{"a kind that is not", Policy{AcceptKinds: []string{"image"}}, text, registered, horde.RCForbidden},
		{"forms are alchemy", Policy{AcceptKinds: []string{"alchemy"}}, form, registered, nil},
		{"what is served is another matter", Policy{ServeKinds: []string{"image"}}, text, registered, nil},
		{"NSFW", Policy{NoNSFW: true}, image(true), registered, horde.RCForbidden},
		{"not NSFW", Policy{NoNSFW: true}, image(false), registered, nil},
		{"one of the models", Policy{OnlyModels: []string{"a", "b"}}, image(false, "x", "b"), registered, nil},
		{"none of the models", Policy{OnlyModels: []string{"a", "b"}}, image(false, "x"), registered, horde.RCForbidden},
		{"any model", Policy{OnlyModels: []string{"a"}}, image(false), registered, nil},
		{"a form is no model", Policy{OnlyModels: []string{"a"}}, form, registered, nil},
		{"anonymous among registered", Policy{MinTrust: TrustRegistered}, text, anonymous, horde.RCForbidden},
		{"registered", Policy{MinTrust: TrustRegistered}, text, registered, nil},
		{"registered among trusted", Policy{MinTrust: TrustTrusted}, text, registered, horde.RCForbidden},
		{"trusted", Policy{MinTrust: TrustTrusted}, text, trusted, nil},
	} {
		if err := tt.policy.Accepts(tt.r, tt.payer); !errors.Is(err, tt.want) {
			t.Errorf("%s: Accepts = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestPolicyServes(t *testing.T) {
	const here, friend, foe horde.NodeID = "here", "friend", "foe"
	names := map[horde.HomeTag]horde.Member{
		here.Tag(): {ID: here, Name: "here"}, friend.Tag(): {ID: friend, Name: "f"}, foe.Tag(): {ID: foe, Name: "x"},
	}
	text := &horde.Shape{Kind: horde.KindText, Models: []string{"m"}}
	user := horde.User{ID: 7, Class: horde.ClassRegistered}
	for _, tt := range []struct {
		name   string
		policy Policy
		home   horde.NodeID
		want   bool
	}{
		{"everything by default", Policy{}, friend, true},
		{"kinds", Policy{ServeKinds: []string{"image"}}, here, false},
		{"what is accepted is another matter", Policy{AcceptKinds: []string{"image"}}, here, true},
		{"models", Policy{OnlyModels: []string{"other"}}, here, false},
		{"trust", Policy{MinTrust: TrustTrusted}, here, false},
		{"own only, own", Policy{OwnUsers: OwnOnly}, here, true},
		{"own only, another's", Policy{OwnUsers: OwnOnly}, friend, false},
		{"own first serves others too", Policy{OwnUsers: OwnFirst}, friend, true},
		{"excluded by name", Policy{Exclude: []string{"x"}}, foe, false},
		{"excluded by id", Policy{Exclude: []string{"foe"}}, foe, false},
		{"not excluded", Policy{Exclude: []string{"x"}}, friend, true},
		{"a stranger, when some are excluded", Policy{Exclude: []string{"x"}}, "stranger", false},
	} {
		r := rules{Policy: &tt.policy, self: here, members: func(h horde.HomeTag) (horde.Member, bool) { m, ok := names[h]; return m, ok }}
		if got := r.Serves(tt.home.Tag(), text, user); got != tt.want {
			t.Errorf("%s: Serves = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy Policy
		ok     bool
	}{
		{"empty", Policy{}, true},
		{"full", Policy{AcceptKinds: []string{"image"}, ServeKinds: []string{"text", "alchemy"}, OwnUsers: OwnOnly, MinTrust: TrustTrusted}, true},
		{"kind", Policy{ServeKinds: []string{"music"}}, false},
		{"own users", Policy{OwnUsers: "last"}, false},
		{"trust", Policy{MinTrust: "blind"}, false},
	} {
		if err := tt.policy.Validate(); (err == nil) != tt.ok {
			t.Errorf("%s: Validate = %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}
