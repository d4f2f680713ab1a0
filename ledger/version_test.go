package ledger

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// A recording is the log of a federation as a program of version 1 wrote it, with the state
// hash after each entry and the rows that it stored at the end. testdata/version1.cbor.gz was
// made by the tests of the last program that knew no versions; it is never made again.
type recording struct {
	Name    string          `cbor:"1,keyasint"`
	Entries []recordedEntry `cbor:"2,keyasint"`
	Rows    []recordedRow   `cbor:"3,keyasint"`
}

type recordedEntry struct {
	_         struct{} `cbor:",toarray"`
	Index     uint64
	Stamp     int64
	Proposals [][]byte
	Hash      digest
}

type recordedRow struct {
	_     struct{} `cbor:",toarray"`
	Key   []byte
	Value []byte
}

func (r *recording) rows() disk {
	d := disk{}
	for _, row := range r.Rows {
		d[string(row.Key)] = row.Value
	}
	return d
}

func (r *recording) last() recordedEntry { return r.Entries[len(r.Entries)-1] }

// recordings reads what version 1 wrote.
func recordings(tb testing.TB) []recording {
	tb.Helper()
	f, err := os.Open("testdata/version1.cbor.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	var out []recording
	if err := decode(b, &out); err != nil {
		tb.Fatal(err)
	}
	return out
}

// replay applies entries and returns the accepted commands by kind.
func (r *recording) replay(tb testing.TB, m *Machine, entries []recordedEntry, accepted map[kind]int) {
	tb.Helper()
	for _, e := range entries {
		answers, err := m.Apply(e.Index, e.Stamp, sha256.Sum256(e.Proposals[0]), e.Proposals)
		if err != nil {
			tb.Fatalf("%s, entry %d: %v", r.Name, e.Index, err)
		}
		if _, got := m.StateHash(); got != e.Hash {
			tb.Fatalf("%s: state hash after entry %d: got %x, recorded %x", r.Name, e.Index, got[:8], e.Hash[:8])
		}
		for i, a := range answers {
			b, err := DecodeBatch(e.Proposals[i])
			results, failed := DecodeResults(a)
			if err != nil || failed != nil {
				continue
			}
			for j, c := range b.Commands {
				if k, _, err := splitCommand(c.Data); err == nil && results[j].RC == "" {
					accepted[k]++
				}
			}
		}
	}
}

// What version 1 wrote is applied to the same states, row for row and hash for hash, by this
// program, and every kind of version 1 is among it.
func TestVersion1LogsGiveTheRecordedHashes(t *testing.T) {
	accepted := map[kind]int{}
	for _, r := range recordings(t) {
		m := NewMachine()
		r.replay(t, m, r.Entries, accepted)
		got, want := m.stored(), r.rows()
		for k, v := range want {
			if !bytes.Equal(got[k], v) {
				t.Errorf("%s: row %x: got %x, recorded %x", r.Name, k, got[k], v)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %d rows, recorded %d", r.Name, len(got), len(want))
		}
		if err := m.CheckInvariants(); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	for k := kind(0); k < firstOfTwo; k++ {
		if _, err := newCommand(k); err == nil && accepted[k] == 0 && k != kindRaiseEpoch {
			t.Errorf("no accepted command of kind %d is recorded", k)
		}
	}
}

// A snapshot of version 1 loads to the recorded hash, and the log goes on from there.
func TestVersion1SnapshotsLoad(t *testing.T) {
	for _, r := range recordings(t) {
		m := NewMachine()
		if err := m.Load(r.last().Index, r.rows().all()); err != nil {
			t.Fatalf("%s: %v", r.Name, err)
		}
		if _, got := m.StateHash(); got != r.last().Hash {
			t.Errorf("%s: state hash: got %x, recorded %x", r.Name, got, r.last().Hash)
		}
		if got := m.Reader().Version(); got != firstVersion {
			t.Errorf("%s: got version %d, want 1", r.Name, got)
		}
	}
}

// A program of version 1 and this one apply the same log of version 1, the one from a snapshot
// of the other, to the same hashes.
func TestOldAndNewSideBySide(t *testing.T) {
	for _, r := range recordings(t) {
		older, newer := NewMachine(), NewMachine()
		older.SupportOnly(1)
		half := len(r.Entries) / 2
		r.replay(t, older, r.Entries[:half], map[kind]int{})
		if half > 0 {
			if err := newer.Load(r.Entries[half-1].Index, disk(older.stored()).all()); err != nil {
				t.Fatal(err)
			}
		}
		r.replay(t, newer, r.Entries[half:], map[kind]int{})
		r.replay(t, older, r.Entries[half:], map[kind]int{})
	}
}

// older founds a federation of version 1.
func older(tb testing.TB) *world {
	tb.Helper()
	w := unfounded(tb)
	if _, err := w.Found(w.ctx, horde.Member{ID: w.id, Name: "alpha", PublicKey: pub("node-a"), Ledger: 1}, Config{}); err != nil {
		tb.Fatal(err)
	}
	return w
}

func (w *world) raise(v Version, members ...horde.NodeID) error {
	_, err := w.do(w.ctx, EncodeRaiseVersion(v, members, false))
	return err
}

func TestAFederationIsFoundedAtTheNewestVersion(t *testing.T) {
	w := newWorld(t)
	if got := w.Version(); got != NewestVersion {
		t.Errorf("got version %d, want %d", got, NewestVersion)
	}
	if m, _ := w.Member(w.id); Version(m.Ledger) != NewestVersion {
		t.Errorf("the founder's row says version %d, want %d", m.Ledger, NewestVersion)
	}
}

func TestNewKindsWaitForTheVersion(t *testing.T) {
	w := older(t)
	cmd := EncodeReportVersion(2)
	wantRC(t, w.Allowed(cmd), horde.RCUnavailable)
	if err := w.Client.Readable(w.batch(cmd)); err == nil {
		t.Error("a leader would have proposed it")
	}
	w.seq-- // that batch was not sent
	before := w.m.content()
	_, err := w.do(w.ctx, cmd)
	wantRC(t, err, horde.RCUnavailable)
	if err == nil || !strings.Contains(err.Error(), "upgrade is in progress") {
		t.Errorf("got %v, want it to say that an upgrade is in progress", err)
	}
	if w.m.content() != before {
		t.Error("the refused command left a trace")
	}

	wantRC(t, w.raise(2, "node-z"), horde.RCForbidden) // not known of this member
	if err := w.raise(2, w.id); err != nil {
		t.Fatal(err)
	}
	wantRC(t, w.raise(2, w.id), horde.RCForbidden)
	wantRC(t, w.raise(1, w.id), horde.RCForbidden)
	if got := w.Version(); got != 2 {
		t.Errorf("got version %d, want 2", got)
	}
	wantRC(t, w.Allowed(cmd), "")
	if err := w.Client.Readable(w.batch(cmd)); err != nil {
		t.Error(err)
	}
	w.seq--
	w.run(cmd)
	if m, _ := w.Member(w.id); m.Ledger != 2 {
		t.Errorf("the row says version %d, want 2", m.Ledger)
	}
	w.check()
}

func TestOnlyVotersRaiseTheVersion(t *testing.T) {
	w := older(t)
	inv := w.invite(1)
	inv.Voter = false
	if err := w.AdmitMember(w.ctx, w.joining(w.token(inv), "node-b")); err != nil {
		t.Fatal(err)
	}
	wantRC(t, w.as("node-b").raise(2, "node-a", "node-b"), horde.RCForbidden)
	wantRC(t, w.raise(2, "node-a"), horde.RCForbidden) // node-b may be older
	_, err := w.do(w.ctx, EncodeRaiseVersion(2, []horde.NodeID{"node-a"}, true))
	wantRC(t, err, "")
}

// A node that knows version 1 only stops at the raise, whatever was forced, and loads no
// snapshot from after it; both times it says what is to be done.
func TestAnOlderNodeStops(t *testing.T) {
	w := older(t)
	old := NewMachine()
	old.SupportOnly(1)
	if err := old.Load(w.index, disk(w.m.stored()).all()); err != nil {
		t.Fatal(err)
	}
	raise := w.batch(EncodeRaiseVersion(2, []horde.NodeID{w.id}, false))
	if _, err := w.apply(raise); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Apply(w.index, w.now, sha256.Sum256(raise), [][]byte{raise}); !errors.Is(err, errCommand) {
		t.Errorf("apply: got %v, want it to stop at an unknown command", err)
	}
	old = NewMachine()
	old.SupportOnly(1)
	err := old.Load(w.index, disk(w.m.stored()).all())
	if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "install a newer hordenode") {
		t.Errorf("load: got %v, want %v", err, ErrVersion)
	}

	// The same for this program and a version to come.
	if _, err := w.do(w.ctx, EncodeRaiseVersion(NewestVersion+1, []horde.NodeID{w.id}, false)); !errors.Is(err, ErrVersion) {
		t.Errorf("raise to an unknown version: got %v, want %v", err, ErrVersion)
	}
	rows := newWorld(t).m.stored()
	rows["\x01from the future"] = []byte{0xa0}
	if err := NewMachine().Load(1<<40, disk(rows).all()); !errors.Is(err, ErrVersion) {
		t.Errorf("a snapshot with an unknown table: got %v, want %v", err, ErrVersion)
	}
}

func TestOlderProgramsCannotJoinANewerFederation(t *testing.T) {
	for _, tt := range []struct {
		name    string
		w       *world
		joiner  Version
		want    horde.RC
		written Version
	}{
		{"old into old", older(t), 1, "", 0},
		{"new into old", older(t), 2, "", 0}, // older members would not write it
		{"old into new", newWorld(t), 1, horde.RCForbidden, 0},
		{"new into new", newWorld(t), 2, "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			join, err := SignJoin(JoinRequest{Token: tt.w.token(tt.w.invite(1)), ID: "node-b", PublicKey: pub("node-b"), Version: tt.joiner}, signer(testKey("node-b")))
			if err != nil {
				t.Fatal(err)
			}
			wantRC(t, tt.w.AdmitMember(tt.w.ctx, join), tt.want)
			if m, _ := tt.w.Member("node-b"); Version(m.Ledger) != tt.written {
				t.Errorf("its row says version %d, want %d", m.Ledger, tt.written)
			}
		})
	}
}

// The rule that spares whoever adds a kind: it comes with the newest version.
func TestVersionsOfKinds(t *testing.T) {
	for k, want := range map[kind]Version{kindGenesis: 1, kindDeleteCollection: 1, 119: 1, 120: 2, kindRaiseVersion: 1, kindReportVersion: 2, 169: 2} {
		if got := k.version(); got != want {
			t.Errorf("kind %d: got version %d, want %d", k, got, want)
		}
	}
}

// Ticks go on through an upgrade: the hash of a state before it is compared after it.
func TestTicksAcrossARaise(t *testing.T) {
	w := older(t)
	for range 2 {
		if err := w.Tick(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.raise(2, w.id); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if err := w.Tick(w.ctx); err != nil {
		t.Error(err)
	}
	w.check()
}
