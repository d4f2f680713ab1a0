package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"hordenode/internal/horde"
)

// A Policy is what the operator of a node decided about its part in the federation. The zero
// Policy takes part in everything. It holds for this node alone: requests that it does not
// accept are taken by others.
//
//	accept   what clients may ask for at this node
//	serve    what the workers that poll here are given, of whichever home
//	claim    which members may take jobs of this node's requests, and give it theirs
type Policy struct {
	AcceptKinds []string `json:"accept_kinds,omitempty"` // image, text, alchemy; empty: all
	ServeKinds  []string `json:"serve_kinds,omitempty"`  // likewise
	NoNSFW      bool     `json:"no_nsfw,omitempty"`      // neither accepted nor served
	// OnlyModels are the models that are accepted and served; empty: all. A request that names
	// several is taken for one of them, and one that names none is taken.
	OnlyModels []string `json:"only_models,omitempty"`
	// OwnUsers says whose requests this node's workers serve: "first" those made at this node
	// and then the others', "only" no others'; empty: by priority alone.
	OwnUsers string `json:"own_users,omitempty"`
	// MinTrust is what accounts must be for their requests to be accepted and served:
	// "registered" (not anonymous) or "trusted"; empty: anybody.
	MinTrust string `json:"min_trust,omitempty"`
	// Exclude are members, by name or id, that jobs are not exchanged with.
	Exclude []string `json:"exclude,omitempty"`
}

// The values of Policy.OwnUsers and Policy.MinTrust.
const (
	OwnFirst        = "first"
	OwnOnly         = "only"
	TrustRegistered = "registered"
	TrustTrusted    = "trusted"
)

var policyKinds = map[string]horde.Kind{"image": horde.KindImage, "text": horde.KindText, "alchemy": horde.KindAlchemy}

// Validate reports what is wrong with a policy, all of it at once.
func (p *Policy) Validate() error {
	var errs []error
	for _, k := range slices.Concat(p.AcceptKinds, p.ServeKinds) {
		if _, ok := policyKinds[k]; !ok {
			errs = append(errs, fmt.Errorf("policy: kind %q: want image, text or alchemy", k))
		}
	}
	if !slices.Contains([]string{"", OwnFirst, OwnOnly}, p.OwnUsers) {
		errs = append(errs, fmt.Errorf("policy: own users %q: want %s or %s", p.OwnUsers, OwnFirst, OwnOnly))
	}
	if !slices.Contains([]string{"", TrustRegistered, TrustTrusted}, p.MinTrust) {
		errs = append(errs, fmt.Errorf("policy: minimum trust %q: want %s or %s", p.MinTrust, TrustRegistered, TrustTrusted))
	}
	return errors.Join(errs...)
}

func hasKind(names []string, k horde.Kind) bool {
	return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return policyKinds[n] == k })
}

// takesModels tells whether one of the models is allowed. Forms are no models.
func (p *Policy) takesModels(s *horde.Shape) bool {
	if len(p.OnlyModels) == 0 || len(s.Models) == 0 || s.Kind == horde.KindAlchemy {
		return true
	}
	return slices.ContainsFunc(s.Models, func(m string) bool { return slices.Contains(p.OnlyModels, m) })
}

func (p *Policy) trusts(u horde.User) bool {
	switch p.MinTrust {
	case TrustRegistered:
		return u.ID != horde.Anonymous && u.Class == horde.ClassRegistered
	case TrustTrusted:
		return u.Is(horde.RoleTrusted)
	}
	return true
}

// Accepts refuses a request that this node does not take, and tells the client why.
func (p *Policy) Accepts(r *horde.Request, payer horde.User) error {
	const elsewhere = "Please use another node of the federation."
	switch s := &r.Shape; {
	case !hasKind(p.AcceptKinds, r.Kind):
		return horde.Refuse(horde.RCForbidden, "This node accepts requests of these kinds only: %s. %s", strings.Join(p.AcceptKinds, ", "), elsewhere)
	case p.NoNSFW && s.NSFW:
		return horde.Refuse(horde.RCForbidden, "This node accepts no NSFW requests. %s", elsewhere)
	case !p.takesModels(s):
		return horde.Refuse(horde.RCForbidden, "This node accepts requests for these models only: %s. %s", strings.Join(p.OnlyModels, ", "), elsewhere)
	case !p.trusts(payer):
		return horde.Refuse(horde.RCForbidden, "This node accepts requests of %s accounts only. %s", p.MinTrust, elsewhere)
	}
	return nil
}

// rules are a policy as exchange asks it: with the members' names, which change.
type rules struct {
	*Policy
	self    horde.NodeID
	members func(horde.HomeTag) (horde.Member, bool)
}

// Serves tells whether workers that poll here may be given jobs of a request.
func (r rules) Serves(home horde.HomeTag, s *horde.Shape, payer horde.User) bool {
	own := home == r.self.Tag()
	return hasKind(r.ServeKinds, s.Kind) && !(r.NoNSFW && s.NSFW) && r.takesModels(s) && r.trusts(payer) &&
		(own || r.OwnUsers != OwnOnly) && r.Exchanges(home)
}

// Exchanges tells whether this node takes jobs from a member and gives it its own.
func (r rules) Exchanges(home horde.HomeTag) bool {
	if len(r.Exclude) == 0 {
		return true
	}
	m, ok := r.members(home)
	return ok && !slices.Contains(r.Exclude, m.Name) && !slices.Contains(r.Exclude, string(m.ID))
}

// OwnFirst tells whether requests of this node are served before others'.
func (r rules) OwnFirst() bool { return r.OwnUsers == OwnFirst }
