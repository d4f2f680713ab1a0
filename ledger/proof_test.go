package ledger

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"math/bits"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hordenode/internal/horde"
)

// rfc6962 is the root as section 2.1 of RFC 6962 defines it.
func rfc6962(leaves []digest) digest {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1 << (bits.Len(uint(len(leaves)-1)) - 1) // the largest power of two below
	left, right := rfc6962(leaves[:k]), rfc6962(leaves[k:])
	return innerDigest(&left, &right)
}

func TestMerkleIsThatOfTheRFC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree merkle
		var leaves []digest
		for range rapid.IntRange(1, 8).Draw(t, "updates") {
			changed := map[int]bool{}
			for range rapid.IntRange(0, 4).Draw(t, "changes") {
				if len(leaves) > 0 {
					changed[rapid.IntRange(0, len(leaves)-1).Draw(t, "place")] = true
				}
			}
			for range rapid.IntRange(0, 9).Draw(t, "new") {
				changed[len(leaves)] = true
				leaves = append(leaves, digest{})
			}
			var places []int
			for i := range leaves {
				if changed[i] {
					places = append(places, i)
					leaves[i] = leafDigest(rapid.SliceOfN(rapid.Byte(), 1, 3).Draw(t, "data"))
				}
			}
			tree.update(len(leaves), places, func(i int) digest { return leaves[i] })
			if len(leaves) == 0 {
				continue
			}
			if got, want := tree.root(), rfc6962(leaves); got != want {
				t.Fatalf("root of %d leaves is %x, want %x", len(leaves), got, want)
			}
			for i, l := range leaves {
				path := tree.path(i)
				if got, ok := climb(l, i, len(leaves), path); !ok || got != tree.root() {
					t.Fatalf("leaf %d of %d: path leads to %x, %t", i, len(leaves), got, ok)
				}
				if _, ok := climb(l, i, len(leaves), append(path, digest{})); ok {
					t.Fatalf("leaf %d of %d: a longer path is taken", i, len(leaves))
				}
			}
		}
	})
}

func (w *world) proof(id horde.UserID, private bool) Proof {
	w.Helper()
	p, ok := w.Reader.Proof(id)
	if !ok {
		w.Fatalf("there is no proof of user %d", id)
	}
	return NewProof(p, SignHead(p.Checkpoint, w.id, w.key.Public().(ed25519.PublicKey), signer(w.key)), private)
}

func TestProofHoldsAndLiesDoNot(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", 100_00, 0)
	bob := w.person("bob", 50_00, 0)
	if _, ok := w.Reader.Proof(alice); ok {
		t.Fatal("there is a proof before the first tick")
	}
	w.tick()
	if err := w.Transfer(w.ctx, Transfer{From: alice, To: bob, Amount: 10_00}); err != nil {
		t.Fatal(err)
	}
	if got := w.proof(alice, true).Kudos; got != 100_00 {
		t.Errorf("before the next tick the proof says %d, want what was at the last one, 10000", got)
	}
	w.tick()
	p := w.proof(bob, true)
	if p.Kudos != 60_00 || p.Private == nil || p.Private.Escrow != 0 {
		t.Errorf("bob's proof is %+v", p)
	}
	for _, private := range []bool{true, false} {
		data, err := json.Marshal(w.proof(bob, private))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyProof(data); err != nil {
			t.Errorf("private %t: %v", private, err)
		}
	}
	if _, ok := w.Reader.Proof(bob + 1); ok {
		t.Error("there is a proof of a user who does not exist")
	}

	lies := map[string]func(*Proof){
		"format":     func(p *Proof) { p.Format = "hordenode/proof/2" },
		"user":       func(p *Proof) { p.User = alice },
		"kudos":      func(p *Proof) { p.Kudos++ },
		"commitment": func(p *Proof) { p.Commitment[0] ^= 1 },
		"path":       func(p *Proof) { p.Path[1][0] ^= 1 },
		"short path": func(p *Proof) { p.Path = p.Path[1:] },
		"accounts":   func(p *Proof) { p.Head.Accounts++ },
		"index":      func(p *Proof) { p.Head.Index++ },
		"chain":      func(p *Proof) { p.Head.Chain[0] ^= 1 },
		"state":      func(p *Proof) { p.Head.StateHash[0] ^= 1 },
		"root":       func(p *Proof) { p.Head.Root[0] ^= 1 },
		"key":        func(p *Proof) { p.Head.PublicKey = Hex(testKey("other").Public().(ed25519.PublicKey)) },
		"no key":     func(p *Proof) { p.Head.PublicKey = nil },
		"escrow":     func(p *Proof) { p.Private.Escrow++ },
		"blind":      func(p *Proof) { p.Private.Blind = p.Private.Blind[1:] },
	}
	for name, lie := range lies {
		p := w.proof(bob, true)
		lie(&p)
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyProof(data); !errors.Is(err, ErrProof) {
			t.Errorf("%s: VerifyProof: %v, want ErrProof", name, err)
		}
	}
	if _, err := VerifyProof([]byte("{")); !errors.Is(err, ErrProof) {
		t.Errorf("no JSON: %v, want ErrProof", err)
	}
}

// The root follows from the accounts, however they came to be there.
func TestRootIsThatOfALoadedLedger(t *testing.T) {
	w := newWorld(t)
	w.m.Changes()
	for i := range 20 {
		w.person("u", horde.Kudos(i)*100_00, 0)
		if i%7 == 3 {
			w.tick()
		}
		if i%5 == 2 {
			w.m.Changes()
		}
	}
	w.tick()
	at, _ := w.Checkpoint()
	loaded := NewMachine()
	if err := loaded.Load(w.m.Head().Index, w.m.Rows()); err != nil {
		t.Fatal(err)
	}
	if got := loaded.s.proofs.tree.root(); got != at.Root {
		t.Errorf("the root of the loaded accounts is %x, want %x", got, at.Root)
	}
	if _, ok := loaded.Reader().Checkpoint(); ok {
		t.Error("a machine that was just loaded has a checkpoint")
	}
}

func TestTickWithAnotherRootStops(t *testing.T) {
	w := newWorld(t)
	w.tick()
	at, _ := w.Checkpoint()
	h := w.Head()
	at.Root[0] ^= 1
	_, err := w.do(w.ctx, encodeCommand(kindTick, tick{Previous: h.TickIndex, Hash: h.TickHash, Accounts: at.Root}))
	if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "accounts") {
		t.Errorf("a tick with another root: %v, want ErrDiverged", err)
	}
}
