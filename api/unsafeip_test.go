package api

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

// Who polls or asks from an address that is known for abuse, by mode and by who it is.
func TestUnsafeAddresses(t *testing.T) {
	const forms = "/api/v2/interrogate/async"
	for _, tt := range []struct {
		name     string
		raid     bool
		change   func(*horde.User)
		image    horde.RC // "": accepted
		pop      horde.RC
		suspects int
	}{
		{"usual", false, func(*horde.User) {}, "", horde.RCUnsafeIP, 0},
		{"usual, trusted", false, func(u *horde.User) { u.Roles |= horde.RoleTrusted }, "", "", 0},
		{"usual, may use a VPN", false, func(u *horde.User) { u.Roles |= horde.RoleVPN }, "", "", 0},
		{"usual, patron", false, func(u *horde.User) { u.MonthlyKudos = 1 }, "", "", 0},
		{"raid", true, func(*horde.User) {}, horde.RCUntrustedUnsafeIP, "", 1},
		{"raid, trusted", true, func(u *horde.User) { u.Roles |= horde.RoleTrusted }, "", "", 0},
		{"raid, may use a VPN", true, func(u *horde.User) { u.Roles |= horde.RoleVPN }, horde.RCUntrustedUnsafeIP, "", 0},
		{"raid, patron", true, func(u *horde.User) { u.MonthlyKudos = 1 }, "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := newCommunityHarness(t, behindProxy)
			h.accounts.change(aliceKey, tt.change)
			h.accounts.modes.Raid = tt.raid
			h.s.deps.Board = namingBoard{h.board}
			suspected := 0
			h.s.deps.UnsafeIP = func(_ context.Context, ip netip.Addr) bool { return ip.String() == "203.0.113.66" }
			h.s.deps.SuspectWorker = func(context.Context, horde.WorkerID) error { suspected++; return nil }
			from := func(ip, path string, body any) answer {
				return h.do("POST", path, aliceKey, body, "X-Forwarded-For", ip)
			}
			want := func(a answer, rc horde.RC, ok int) {
				t.Helper()
				if rc == "" {
					a.wants(ok, "")
				} else {
					a.wants(http.StatusForbidden, rc)
				}
			}
			poll := m{"name": "w", "models": []string{"some-model"}}
			want(from("203.0.113.66", imagePath, with(nil)), tt.image, 202)
			if tt.image == "" {
				if got := h.board.last(t).Shape.UnsafeIP; got != tt.raid {
					t.Errorf("workers may refuse it for its address: %v, want %v", got, tt.raid)
				}
			}
			want(from("203.0.113.66", textPath, m{"prompt": "x"}), "", 202) // texts are not looked at
			want(from("203.0.113.66", "/api/v2/generate/text/pop", poll), tt.pop, 200)
			if a := from("203.0.113.66", forms, m{"source_image": "x", "forms": []m{{"name": "caption"}}}); strings.Contains(a.body, "UntrustedUnsafeIP") != (tt.image != "") {
				t.Errorf("forms: %d %s, want %q", a.status, a.body, tt.image)
			}
			if suspected != tt.suspects {
				t.Errorf("%d suspicions, want %d", suspected, tt.suspects)
			}
			from("203.0.113.67", imagePath, with(nil)).wants(202, "")
			from("203.0.113.67", "/api/v2/generate/text/pop", poll).wants(200, "")
		})
	}
}

// A namingBoard knows every worker that polls.
type namingBoard struct{ *fakeBoard }

func (b namingBoard) Pop(ctx context.Context, p horde.Pop) (horde.PopResult, error) {
	res, err := b.fakeBoard.Pop(ctx, p)
	res.Worker.ID = horde.WorkerID{UUID: horde.UUID{1}}
	return res, err
}

// A wait ends when its key is not good any more; others go on.
func TestReviewEndsRevokedWaits(t *testing.T) {
	h := newHarness(t)
	request := func(key horde.APIKey) *http.Request {
		r, err := http.NewRequest("GET", "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			r.Header.Set("apikey", string(key))
		}
		return r
	}
	for _, tt := range []struct {
		name   string
		change func()
		ends   bool
	}{
		{"nothing", func() {}, false},
		{"flagged", func() { h.accounts.change(aliceKey, func(u *horde.User) { u.Roles |= horde.RoleFlagged }) }, true},
		{"flagged before", func() {}, false},
		{"deleted", func() { h.accounts.change(aliceKey, func(u *horde.User) { u.Roles |= horde.RoleDeleted }) }, true},
		{"key replaced", func() { delete(h.accounts.keys, aliceKey) }, true},
	} {
		away, leave := h.s.waiters.enterWith(h.s.keyStillGood(request(aliceKey)), "alice")
		other, leaveOther := h.s.waiters.enterWith(h.s.keyStillGood(request(ownerKey)), "owner")
		nobody, leaveNobody := h.s.waiters.enterWith(h.s.keyStillGood(request("")), "nobody")
		tt.change()
		ended := h.s.EndRevoked()
		gone := func(ch <-chan struct{}) bool {
			select {
			case <-ch:
				return true
			default:
				return false
			}
		}
		if gone(away) != tt.ends || ended != map[bool]int{true: 1}[tt.ends] || gone(other) || gone(nobody) {
			t.Errorf("%s: %d ended, want %v; others %v %v", tt.name, ended, tt.ends, gone(other), gone(nobody))
		}
		leave()
		leaveOther()
		leaveNobody()
	}
}
