package ledger

import (
	"slices"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func unlimitedCaps(n NewSharedKey) NewSharedKey {
	n.MaxImagePixels, n.MaxImageSteps, n.MaxTextTokens = -1, -1, -1
	return n
}

func TestSharedKeyRefusals(t *testing.T) {
	w := newWorld(t)
	alice, bob, mod := w.person("alice", 0, 0), w.person("bob", 0, 0), w.person("mod", 0, horde.RoleModerator)
	key := must(w.CreateSharedKey(w.ctx, unlimitedCaps(NewSharedKey{Owner: alice, Kudos: horde.Whole(10), Name: "k"})))(t)
	if key.Owner != alice || key.Kudos != horde.Whole(10) || key.MaxImagePixels != -1 || !key.Expires.IsZero() {
		t.Errorf("made %+v", key)
	}
	nowhere := horde.SharedKeyID{UUID: horde.UUID{9}}
	create := func(n NewSharedKey) func() error { return func() error { return one(w.CreateSharedKey(w.ctx, n)) } }
	update := func(c SharedKeyChange) func() error {
		return func() error { return one(w.UpdateSharedKey(w.ctx, c)) }
	}
	remove := func(actor horde.UserID, id horde.SharedKeyID) func() error {
		return func() error { return w.DeleteSharedKey(w.ctx, actor, id) }
	}
	never := time.Time{}
	for _, tt := range []struct {
		name string
		do   func() error
		want horde.RC
	}{
		{"anonymous", create(NewSharedKey{}), horde.RCAnonForbidden},
		{"nobody", create(NewSharedKey{Owner: 99}), horde.RCInvalidAPIKey},
		{"negative", create(NewSharedKey{Owner: bob, Kudos: -1}), horde.RCBadRequest},
		{"negative limit", create(NewSharedKey{Owner: bob, MaxImageSteps: -2}), horde.RCBadRequest},
		{"unlimited", create(NewSharedKey{Owner: bob, Kudos: horde.Unlimited}), ""},

		{"change an unknown one", update(SharedKeyChange{Actor: alice, Key: nowhere, Name: ptr("x")}), horde.RCInvalidAPIKey},
		{"change by nobody", update(SharedKeyChange{Actor: 99, Key: key.ID, Name: ptr("x")}), horde.RCInvalidAPIKey},
		{"change by a stranger", update(SharedKeyChange{Actor: bob, Key: key.ID, Name: ptr("x")}), horde.RCForbidden},
		{"change by a moderator", update(SharedKeyChange{Actor: mod, Key: key.ID, Name: ptr("x")}), horde.RCForbidden},
		{"change nothing", update(SharedKeyChange{Actor: alice, Key: key.ID}), horde.RCNoSharedKeyModSelected},
		{"change to less than nothing", update(SharedKeyChange{Actor: alice, Key: key.ID, Kudos: ptr(horde.Kudos(-1)), Name: ptr("x")}), horde.RCBadRequest},
		{"change", update(SharedKeyChange{Actor: alice, Key: key.ID, Kudos: ptr(horde.Kudos(0)), Expires: ptr(start), MaxTextTokens: ptr(5)}), ""},
		{"never expires again", update(SharedKeyChange{Actor: alice, Key: key.ID, Expires: &never}), ""},

		{"delete an unknown one", remove(alice, nowhere), horde.RCInvalidAPIKey},
		{"delete by a moderator", remove(mod, key.ID), horde.RCForbidden},
		{"delete", remove(alice, key.ID), ""},
		{"delete again", remove(alice, key.ID), horde.RCInvalidAPIKey},
	} {
		t.Run(tt.name, func(t *testing.T) { w.try(t, tt.want, tt.do) })
	}
	if _, ok := w.SharedKey(key.ID); ok || len(w.keysOf(alice)) != 0 || len(w.keysOf(bob)) != 1 {
		t.Error("a deleted key is there")
	}
}

func TestSharedKeysOfOneUserAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		roles horde.Roles
		most  int
	}{
		{"plain", 0, 3},
		{"trusted", horde.RoleTrusted, 10},
		{"education", horde.RoleEducation, 1000},
		{"trusted education", horde.RoleTrusted | horde.RoleEducation, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.person("u", 0, tt.roles)
			create := func() error { return one(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: id})) }
			for range tt.most {
				must(0, create())(t)
			}
			w.try(t, horde.RCForbidden, create)
			must(0, w.DeleteSharedKey(w.ctx, id, w.keysOf(id)[1]))(t)
			w.try(t, "", create)
		})
	}
}

// Each case debits 3 of tax and 7 for a job from an owner who has 100.
func TestSharedKeyIsUsedUp(t *testing.T) {
	for _, tt := range []struct {
		name       string
		kudos      horde.Kudos
		left, used horde.Kudos
	}{
		{"enough", horde.Whole(20), horde.Whole(10), horde.Whole(10)},
		{"just enough", horde.Whole(10), 0, horde.Whole(10)},
		{"ends at nothing", horde.Whole(5), 0, horde.Whole(10)},
		{"empty after the tax", horde.Whole(2), 0, horde.Whole(3)}, // an empty key counts nothing more
		{"empty", 0, 0, 0},
		{"unlimited", horde.Unlimited, horde.Unlimited, horde.Whole(10)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.person("alice", horde.Whole(100), 0)
			worker := w.worker(w.person("owner", 0, 0), horde.KindText, "worker")
			key := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: alice, Kudos: tt.kudos}))(t)
			id := w.admit(horde.Admission{Payer: alice, Tax: horde.Whole(3), SharedKey: key.Ref})
			for range 2 { // the second time it is settled already
				err := w.settle(horde.Settlement{Request: id, Worker: worker, Debit: horde.Whole(7), Credit: horde.Whole(7)})
				if err != nil {
					wantRC(t, err, horde.RCDuplicateGen)
				}
			}
			got, _ := w.SharedKey(key.ID)
			if got.Kudos != tt.left || got.Utilized != tt.used {
				t.Errorf("left %v, used %v; want %v, %v", got.Kudos, got.Utilized, tt.left, tt.used)
			}
			if k := w.user(alice).Kudos; k != horde.Whole(90) {
				t.Errorf("the owner has %v, want 90", k)
			}
			w.check()
		})
	}
}

func TestAdmissionBySharedKey(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", horde.Whole(100), 0), w.person("bob", horde.Whole(100), 0)
	key := func(k horde.Kudos, expires time.Time) horde.SharedKeyRef {
		made := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: alice, Kudos: k, Expires: expires}))(t)
		return made.Ref
	}
	good, empty, expired := key(horde.Whole(5), time.Time{}), key(0, time.Time{}), key(horde.Whole(5), start.Add(-time.Second))
	gone := horde.SharedKeyRef{UUID: horde.UUID{9}}
	for _, tt := range []struct {
		name    string
		payer   horde.UserID
		key     horde.SharedKeyRef
		upfront horde.Kudos
		want    horde.RC
	}{
		{"good", alice, good, horde.Whole(5), ""},
		{"too little", alice, good, horde.Whole(5) + 1, horde.RCSharedKeyInsufficientKudos},
		{"empty", alice, empty, 1, horde.RCSharedKeyEmpty},
		{"expired", alice, expired, 1, horde.RCSharedKeyExpired},
		{"gone", alice, gone, 1, horde.RCInvalidAPIKey},
		{"of another", bob, good, 1, horde.RCBadRequest},
		{"of another, nothing upfront", bob, good, 0, horde.RCBadRequest},
		// What comes through an outbox is served already.
		{"empty, nothing upfront", alice, empty, 0, ""},
		{"expired, nothing upfront", alice, expired, 0, ""},
		{"gone, nothing upfront", alice, gone, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.try(t, tt.want, func() error {
				return w.Admit(w.ctx, horde.Admission{
					Request: w.request(), Payer: tt.payer, Slots: 1, Upfront: tt.upfront, SharedKey: tt.key, Deadline: moment(w.now).Add(time.Hour),
				})
			})
		})
	}
}

func TestTransferToKey(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", horde.Whole(1000), 0), w.person("bob", horde.Whole(100), 0)
	limited := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: bob, Kudos: horde.Whole(5)}))(t).ID
	unlimited := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: bob, Kudos: horde.Unlimited}))(t).ID
	expired := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: bob, Kudos: horde.Whole(5), Expires: start.Add(-time.Second)}))(t).ID
	send := func(n KeyTransfer) func() error { return func() error { return w.TransferToKey(w.ctx, n) } }
	for _, tt := range []struct {
		name string
		t    KeyTransfer
		want horde.RC
	}{
		{"unknown", KeyTransfer{alice, horde.SharedKeyID{UUID: horde.UUID{9}}, 100, ""}, horde.RCInvalidTargetUsername},
		{"expired", KeyTransfer{alice, expired, 100, ""}, horde.RCSharedKeyExpired},
		{"to one's own", KeyTransfer{bob, limited, 100, ""}, horde.RCKudosTransferToSelf},
		{"anonymous", KeyTransfer{horde.Anonymous, limited, 100, ""}, horde.RCKudosTransferFromAnon},
		{"nothing", KeyTransfer{alice, limited, 0, ""}, horde.RCInvalidKudosTransferAmount},
		{"too much", KeyTransfer{alice, limited, horde.Whole(1000), ""}, horde.RCKudosTransferNotEnough},
		{"to the key", KeyTransfer{alice, limited, horde.Whole(10), "once"}, ""},
		{"repeated", KeyTransfer{alice, limited, horde.Whole(10), "once"}, ""},
		{"same Idempotency-Key, another shared key", KeyTransfer{alice, unlimited, horde.Whole(10), "once"}, horde.RCIdempotencyKeyConflict},
		{"unlimited", KeyTransfer{alice, unlimited, horde.Whole(10), ""}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { w.try(t, tt.want, send(tt.t)) })
	}
	w.try(t, horde.RCIdempotencyKeyConflict, func() error {
		return w.Transfer(w.ctx, Transfer{From: alice, To: bob, Amount: horde.Whole(10), Key: "once"})
	})
	if k, _ := w.SharedKey(limited); k.Kudos != horde.Whole(15) {
		t.Errorf("the limited key has %v, want 15", k.Kudos)
	}
	if k, _ := w.SharedKey(unlimited); k.Kudos != horde.Unlimited {
		t.Errorf("the unlimited key has %v", k.Kudos)
	}
	if a, b := w.user(alice).Kudos, w.user(bob).Kudos; a != horde.Whole(980) || b != horde.Whole(120) {
		t.Errorf("alice has %v, bob %v; want 980, 120", a, b)
	}
}

// What older versions wrote is read as it was meant, and is written the same today.
func TestOlderEncodingsStay(t *testing.T) {
	type admissionV0 struct {
		Request  horde.RequestID `cbor:"1,keyasint"`
		Kind     horde.Kind      `cbor:"2,keyasint,omitempty"`
		Payer    horde.UserID    `cbor:"3,keyasint,omitempty"`
		Slots    int             `cbor:"4,keyasint"`
		Tax      horde.Kudos     `cbor:"5,keyasint,omitempty"`
		Upfront  horde.Kudos     `cbor:"6,keyasint,omitempty"`
		Deadline int64           `cbor:"7,keyasint"`
	}
	type hordeAdmissionV0 struct { // as a home may have stored it
		Request  horde.RequestID `cbor:"1,keyasint"`
		Slots    int             `cbor:"4,keyasint"`
		Deadline time.Time       `cbor:"7,keyasint"`
	}
	type transferV0 struct {
		From   horde.UserID `cbor:"1,keyasint,omitempty"`
		To     horde.UserID `cbor:"2,keyasint,omitempty"`
		Amount horde.Kudos  `cbor:"3,keyasint,omitempty"`
		Key    digest       `cbor:"4,keyasint,omitzero"`
	}
	type holdV0 struct {
		Payer    horde.UserID  `cbor:"1,keyasint,omitempty"`
		Home     horde.HomeTag `cbor:"2,keyasint"`
		Slots    int           `cbor:"4,keyasint"`
		Deadline int64         `cbor:"7,keyasint"`
	}
	type workerV0 struct {
		Name  string       `cbor:"2,keyasint,omitempty"`
		Owner horde.UserID `cbor:"3,keyasint,omitempty"`
	}
	type configV0 struct {
		TrustThreshold horde.Kudos `cbor:"1,keyasint,omitempty"`
	}
	id := horde.RequestID{UUID: horde.UUID{1, 2, 3}}
	home := horde.HomeTag{1, 2, 3}
	read := func(v any) func([]byte) any {
		return func(b []byte) any {
			if err := decode(b, v); err != nil {
				t.Fatalf("decode %T: %v", v, err)
			}
			return v
		}
	}
	for _, tt := range []struct {
		name string
		old  any
		into func([]byte) any
	}{
		{"admission", admissionV0{id, 1, 2, 3, 4, 5, 6}, read(new(admission))},
		{"admission of a home", hordeAdmissionV0{id, 3, start}, read(new(horde.Admission))},
		{"transfer", transferV0{1, 2, 3, digest{4}}, read(new(transfer))},
		{"hold", holdV0{1, home, 2, 3}, read(new(hold))},
		{"worker", workerV0{"w", 1}, read(new(worker))},
		{"config", configV0{5}, read(new(Config))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			was := encode(tt.old)
			if now := encode(tt.into(was)); !slices.Equal(now, was) {
				t.Errorf("%x became %x", was, now)
			}
		})
	}
	a := newAdmission(horde.Admission{Request: id, SharedKey: horde.SharedKeyRef{UUID: horde.UUID{7}}, Style: horde.StyleID{UUID: horde.UUID{8}}})
	var back admission
	if err := decode(encode(a), &back); err != nil || back != a {
		t.Errorf("got %+v, %v, want %+v", back, err, a)
	}
}
