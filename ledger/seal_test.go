package ledger

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

// contains tells whether a shared key's id is in the state or in any encoded command.
func (w *world) contains(id horde.SharedKeyID) bool {
	found := false
	for k, v := range w.m.Rows() {
		found = found || bytes.Contains(k, id.UUID[:]) || bytes.Contains(v, id.UUID[:])
	}
	return found
}

// TestSharedKeyIDsAreSealed: the id of a key is in no row, and yet the key is found by it and
// listed; what stands in the rows instead is no credential.
func TestSharedKeyIDsAreSealed(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", horde.Whole(100), horde.RoleCustomizer)
	made := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: alice, Kudos: 100, Name: "k"}))(t)
	style := must(w.CreateStyle(w.ctx, NewStyle{Actor: alice, Kind: horde.KindImage, Name: "s", Prompt: "{p}{np}", Models: []string{"m"}, SharedKey: made.Ref}))(t)
	if w.contains(made.ID) {
		t.Error("the id is in the ledger in the clear")
	}
	if got, ok := w.SharedKey(made.ID); !ok || got.ID != made.ID || got.Ref != made.Ref || got.Name != "k" {
		t.Errorf("by its id: %+v, %v", got, ok)
	}
	if got, ok := w.SharedKeyAt(style.SharedKey); !ok || got.ID != made.ID {
		t.Errorf("of the style: %+v, %v; want the key's id", got, ok)
	}
	if ids := w.keysOf(alice); len(ids) != 1 || ids[0] != made.ID {
		t.Errorf("listed are %v, want %v", ids, made.ID)
	}
	asID := horde.SharedKeyID(made.Ref)
	if _, ok := w.SharedKey(asID); ok {
		t.Error("what the ledger calls the key is taken for its id")
	}
	wantRC(t, w.DeleteSharedKey(w.ctx, alice, asID), horde.RCInvalidAPIKey)
	wantRC(t, w.TransferToKey(w.ctx, KeyTransfer{From: founderUser, To: asID, Amount: 1}), horde.RCInvalidTargetUsername)
	must(w.UpdateSharedKey(w.ctx, SharedKeyChange{Actor: alice, Key: made.ID, Name: ptr("new")}))(t)
	must(0, w.DeleteSharedKey(w.ctx, alice, made.ID))(t)
	w.check()
}

// TestSharedKeysWithoutTheSealKey: a node that does not have the key yet finds shared keys, and
// says so where it would need it; one whose id is sealed with a lost key is left out.
func TestSharedKeysWithoutTheSealKey(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", horde.Whole(100), 0)
	made := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: alice, Kudos: 100}))(t)
	print, has := w.SealPrint()
	if !has || len(print) == 0 {
		t.Fatalf("SealPrint = %x, %v", print, has)
	}

	w.m.UseSealKey(SealKey{2}) // another federation's
	if _, has := w.SealPrint(); has {
		t.Error("a key with another print is taken for the federation's")
	}
	if got, ok := w.SharedKey(made.ID); !ok || got.ID != made.ID {
		t.Errorf("by its id: %+v, %v", got, ok)
	}
	if got, ok := w.SharedKeyAt(made.Ref); !ok || !got.ID.IsZero() {
		t.Errorf("by what the ledger calls it: %+v, %v; want it without its id", got, ok)
	}
	_, err := w.SharedKeysOf(alice)
	wantRC(t, err, horde.RCUnavailable)
	_, err = w.CreateSharedKey(w.ctx, NewSharedKey{Owner: alice})
	wantRC(t, err, horde.RCUnavailable)
	if ids, err := w.SharedKeysOf(founderUser); err != nil || len(ids) != 0 {
		t.Errorf("who has no keys: %v, %v", ids, err)
	}

	w.useSealKey(SealKey{2}, print) // the first is given up
	if ids := w.keysOf(alice); len(ids) != 0 {
		t.Errorf("listed are %v, want none: their key is lost", ids)
	}
	second := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: alice}))(t)
	if ids := w.keysOf(alice); len(ids) != 1 || ids[0] != second.ID {
		t.Errorf("listed are %v, want the second", ids)
	}
	if got, ok := w.SharedKey(made.ID); !ok || got.Kudos != 100 {
		t.Errorf("the first, by its id: %+v, %v", got, ok)
	}
	w.check()
}

func TestSetSealKeyRefusals(t *testing.T) {
	w := newWorld(t)
	other := SealKey{9}.Print()
	set := func(print [32]byte, replaces []byte) func() error {
		return func() error {
			_, err := w.do(w.ctx, EncodeSetSealKey(print, replaces))
			return err
		}
	}
	now, _ := w.SealPrint()
	for _, tt := range []struct {
		name string
		do   func() error
		want horde.RC
	}{
		{"as if there were none", set(other, nil), horde.RCForbidden},
		{"in place of another", set(other, other[:]), horde.RCForbidden},
		{"no print", func() error {
			_, err := w.do(w.ctx, encodeCommand(kindSetSealKey, setSealKey{Print: []byte{1}, Replaces: now}))
			return err
		}, horde.RCBadRequest},
		{"a key sealed with none", func() error {
			_, err := w.do(w.ctx, encodeCommand(kindCreateSealedKey, createSealedKey{Key: createSharedKey{Owner: 1, Ref: horde.SharedKeyRef{UUID: horde.UUID{1}}}}))
			return err
		}, horde.RCUnavailable},
		{"in place of the one there is", set(other, now), ""},
	} {
		t.Run(tt.name, func(t *testing.T) { w.try(t, tt.want, tt.do) })
	}
}

// TestSharedKeysOfVersion1: in a federation of version 1 a key's id is its row's key, as before,
// and it goes on working when the version is raised.
func TestSharedKeysOfVersion1(t *testing.T) {
	w := older(t)
	const old = founderUser
	if w.Version() != 1 {
		t.Fatalf("version %d, want 1", w.Version())
	}
	made := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: old, Kudos: 100}))(t)
	if made.Ref != horde.SharedKeyRef(made.ID) || !w.contains(made.ID) {
		t.Errorf("the row of a key of version 1 is at %v, want its id %v", made.Ref, made.ID)
	}
	must(0, w.raise(NewestVersion, w.id))(t)
	_, err := w.CreateSharedKey(w.ctx, NewSharedKey{Owner: old})
	wantRC(t, err, horde.RCUnavailable) // there is no SealKey yet
	if ids := w.keysOf(old); len(ids) != 1 || ids[0] != made.ID {
		t.Errorf("listed are %v, want %v", ids, made.ID)
	}
	w.useSealKey(SealKey{3}, nil)
	second := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: old}))(t)
	if ids := w.keysOf(old); len(ids) != 2 || ids[0] != made.ID || ids[1] != second.ID || w.contains(second.ID) {
		t.Errorf("listed are %v, want %v and %v, the second sealed", ids, made.ID, second.ID)
	}
	if k := must(w.UpdateSharedKey(w.ctx, SharedKeyChange{Actor: old, Key: made.ID, Name: ptr("n")}))(t); k.ID != made.ID || k.Name != "n" {
		t.Errorf("changed: %+v", k)
	}
	must(0, w.DeleteSharedKey(w.ctx, old, made.ID))(t)
	w.check()
}

// TestSealKeyIsNotShown: a SealKey that gets into a log line by mistake does not tell itself.
func TestSealKeyIsNotShown(t *testing.T) {
	k := SealKey{0xab, 0xcd}
	for _, format := range []string{"%v", "%s", "%x", "%+v", "%q"} {
		if got := fmt.Sprintf(format, k); strings.Contains(got, "171") || strings.Contains(got, hex.EncodeToString(k[:2])) {
			t.Errorf("%s shows %s", format, got)
		}
	}
}

// FuzzSealedID: whatever a row says, it opens to what was sealed or not at all.
func FuzzSealedID(f *testing.F) {
	key, id, ref := SealKey{1}, horde.SharedKeyID{UUID: horde.UUID{2}}, horde.SharedKeyRef{UUID: horde.UUID{3}}
	sealed, err := key.seal(bytes.NewReader(make([]byte, 12)), id, ref)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:sealPrintSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := key.open(b, ref)
		same := bytes.Equal(b[min(len(b), sealPrintSize):], sealed[sealPrintSize:])
		if same && len(b) == len(sealed) {
			if err != nil || got != id {
				t.Errorf("got %v, %v, want the id", got, err)
			}
		} else if !errors.Is(err, errSealed) {
			t.Errorf("%x opened to %v, %v", b, got, err)
		}
		if _, err := key.open(b, horde.SharedKeyRef{}); !errors.Is(err, errSealed) {
			t.Errorf("it opens in another row: %v", err)
		}
	})
}
