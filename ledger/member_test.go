package ledger

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func pub(name string) ed25519.PublicKey { return testKey(name).Public().(ed25519.PublicKey) }

// invite returns an invite of w's node.
func (w *world) invite(n byte) Invite {
	return Invite{
		Cluster: w.Cluster(), Epoch: 1, Inviter: w.id, Key: pub(string(w.id)), Expires: time.UnixMilli(w.now).Add(time.Hour).UTC(),
		Nonce: Nonce{n}, URLs: []string{"https://a.example"},
	}
}

func (w *world) token(inv Invite) string {
	w.Helper()
	token, err := SignInvite(inv, signer(w.key))
	if err != nil {
		w.Fatal(err)
	}
	return token
}

func (w *world) joining(token string, id horde.NodeID) []byte {
	w.Helper()
	b, err := SignJoin(JoinRequest{Token: token, ID: id, PublicKey: pub(string(id)), Addrs: []string{"/ip4/1.2.3.4/tcp/1"}, Name: "name of " + string(id)}, signer(testKey(string(id))))
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// join admits a node invited by w's.
func (w *world) join(id horde.NodeID, voter bool) {
	w.Helper()
	inv := w.invite(id[len(id)-1])
	inv.Voter = voter
	if err := w.AdmitMember(w.ctx, w.joining(w.token(inv), id)); err != nil {
		w.Fatalf("AdmitMember: %v", err)
	}
}

func TestParseInvite(t *testing.T) {
	w := newWorld(t)
	inv := w.invite(1)
	good := w.token(inv)
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1 // in the signature
	now := time.UnixMilli(w.now)
	for _, tt := range []struct {
		name  string
		token string
		now   time.Time
		want  error
	}{
		{"good", good, now, nil},
		{"in its last second", good, inv.Expires.Add(-time.Second), nil},
		{"expired", good, inv.Expires, ErrInviteExpired},
		{"cut off", good[:len(good)-3], now, ErrInviteMalformed},
		{"empty", "", now, ErrInviteMalformed},
		{"not base64", "!" + good, now, ErrInviteMalformed},
		{"changed", base64.RawURLEncoding.EncodeToString(raw), now, ErrInviteForged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseInvite(tt.token, tt.now)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got error %v, want %v", err, tt.want)
			}
			if err == nil && (got.Inviter != inv.Inviter || got.Nonce != inv.Nonce || !got.Expires.Equal(inv.Expires) || got.URLs[0] != inv.URLs[0]) {
				t.Errorf("got %+v, want %+v", got, inv)
			}
		})
	}
}

func TestAdmitMember(t *testing.T) {
	w := newWorld(t)
	w.join("node-b", false)
	b := w.as("node-b")
	for _, tt := range []struct {
		name string
		join func() []byte
		want horde.RC
	}{
		{"used nonce", func() []byte { return w.joining(w.token(w.invite('b')), "node-c") }, horde.RCForbidden},
		{"the same node again, with the token that it used", func() []byte { return w.joining(w.token(w.invite('b')), "node-b") }, ""},
		{"the name of another", func() []byte {
			p, err := SignJoin(JoinRequest{Token: w.token(w.invite(4)), ID: "node-c", PublicKey: pub("node-c"), Name: "name of node-b"}, signer(testKey("node-c")))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}, horde.RCForbidden},
		{"a member already", func() []byte { return w.joining(w.token(w.invite(2)), "node-b") }, horde.RCForbidden},
		{"another federation", func() []byte {
			inv := w.invite(3)
			inv.Cluster[0]++
			return w.joining(w.token(inv), "node-c")
		}, horde.RCForbidden},
		{"another epoch", func() []byte {
			inv := w.invite(3)
			inv.Epoch++
			return w.joining(w.token(inv), "node-c")
		}, horde.RCForbidden},
		{"inviter unknown", func() []byte {
			z := w.as("node-z")
			return w.joining(z.token(z.invite(3)), "node-c")
		}, horde.RCForbidden},
		{"in the name of a member, by another key", func() []byte {
			z := w.as("node-z")
			inv := z.invite(3)
			inv.Inviter = "node-a"
			return w.joining(z.token(inv), "node-c")
		}, horde.RCForbidden},
		{"a voter, by one that may not vote", func() []byte {
			inv := b.invite(3)
			inv.Voter = true
			return w.joining(b.token(inv), "node-c")
		}, horde.RCForbidden},
		{"expired by ledger time", func() []byte {
			inv := w.invite(3)
			inv.Expires = time.UnixMilli(w.now)
			return w.joining(w.token(inv), "node-c")
		}, horde.RCForbidden},
		{"signed by another than the joiner", func() []byte {
			p, err := SignJoin(JoinRequest{Token: w.token(w.invite(3)), ID: "node-c", PublicKey: pub("node-c")}, signer(testKey("node-d")))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}, horde.RCForbidden},
		{"garbage", func() []byte { return []byte("garbage") }, horde.RCForbidden},
		{"good, by a member that may not vote", func() []byte { return w.joining(b.token(b.invite(3)), "node-c") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := w.m.content()
			wantRC(t, w.AdmitMember(w.ctx, tt.join()), tt.want)
			if tt.want != "" && w.m.content() != before {
				t.Error("a refusal left a trace")
			}
		})
	}
	m, ok := w.MemberByTag(horde.NodeID("node-c").Tag())
	if !ok || m.ID != "node-c" || !m.Active || m.Voter || m.InvitedBy != "node-b" || m.Name != "name of node-c" {
		t.Errorf("node-c is %+v, %v", m, ok)
	}
	if n := len(w.Members()); n != 3 {
		t.Errorf("%d members, want 3", n)
	}
}

func TestMembersCommandsCount(t *testing.T) {
	w := newWorld(t)
	w.join("node-b", false)
	b := w.as("node-b")
	wantRC(t, b.UpdateMember(b.ctx, MemberChange{ID: "node-b", URL: ptr("https://b.example")}), "")
	if m, _ := w.Member("node-b"); m.URL != "https://b.example" || m.Addrs[0] != "/ip4/1.2.3.4/tcp/1" {
		t.Errorf("node-b is %+v", m)
	}
	wantRC(t, b.UpdateMember(b.ctx, MemberChange{ID: "node-a", URL: ptr("https://evil.example")}), horde.RCForbidden)
	wantRC(t, b.UpdateMember(b.ctx, MemberChange{ID: "node-b", Voter: ptr(true)}), horde.RCForbidden)
	wantRC(t, b.RemoveMember(b.ctx, "node-a"), horde.RCForbidden)
	wantRC(t, w.RemoveMember(w.ctx, "node-a"), horde.RCForbidden) // the last voter
	wantRC(t, w.UpdateMember(w.ctx, MemberChange{ID: "node-a", Voter: ptr(false)}), horde.RCForbidden)
	wantRC(t, w.UpdateMember(w.ctx, MemberChange{ID: "node-b", Voter: ptr(true)}), "")
	wantRC(t, w.RemoveMember(w.ctx, "node-b"), "")
	wantRC(t, w.RemoveMember(w.ctx, "node-b"), horde.RCForbidden)
	if err := b.Tick(b.ctx); !errors.Is(err, ErrNotMember) {
		t.Errorf("a removed member's batch: got %v, want %v", err, ErrNotMember)
	}
	// It may come back by a new invite.
	if err := w.AdmitMember(w.ctx, w.joining(w.token(w.invite(9)), "node-b")); err != nil {
		t.Errorf("join again: %v", err)
	}
	b.seq-- // the refused batch's number is still to come
	if _, err := b.do(b.ctx, b.EncodeFinish(horde.Finish{})); err != nil {
		t.Errorf("a returned member's batch: %v", err)
	}
	w.check()
}

func TestMemberAdmittedInTheSameEntry(t *testing.T) {
	w := newWorld(t)
	admit := w.batch(encodeCommand(kindAdmitMember, admitMember{w.joining(w.token(w.invite(1)), "node-b")}))
	b := w.as("node-b")
	first := b.batch(b.EncodeFinish(horde.Finish{}))
	answers, err := w.apply(admit, first)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if rs, err := DecodeResults(a); err != nil || rs[0].RC != "" {
			t.Errorf("proposal %d: %v, %v", i, rs, err)
		}
	}
}

func TestJoinAnswer(t *testing.T) {
	w := newWorld(t)
	inv := w.invite(1)
	w.join("node-b", true)
	b, err := SignJoinAnswer(JoinAnswer{Cluster: w.Cluster(), Epoch: 1, Nonce: inv.Nonce, Members: w.Members()}, signer(w.key))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseJoinAnswer(b, inv)
	if err != nil {
		t.Fatalf("ParseJoinAnswer: %v", err)
	}
	if len(got.Members) != 2 || got.Members[0].ID != "node-a" || !got.Members[1].Voter || !got.Members[1].Joined.Equal(start) {
		t.Errorf("members are %+v", got.Members)
	}
	other := inv
	other.Nonce[0]++
	if _, err := ParseJoinAnswer(b, other); !errors.Is(err, ErrJoinForged) {
		t.Errorf("for another invite: got %v, want %v", err, ErrJoinForged)
	}
	other = inv
	other.Key = pub("node-b")
	if _, err := ParseJoinAnswer(b, other); !errors.Is(err, ErrJoinForged) {
		t.Errorf("of another inviter: got %v, want %v", err, ErrJoinForged)
	}
	if _, err := ParseJoinAnswer([]byte("x"), inv); !errors.Is(err, ErrJoinMalformed) {
		t.Errorf("garbage: got %v, want %v", err, ErrJoinMalformed)
	}
}
