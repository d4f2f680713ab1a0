package node

import (
	"bufio"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hordenode/consensus"
	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/p2p"
)

// controlBackup streams the ledger as it is now, as an export without entries. It names no
// key of a node or a user, no address and no request.
func (n *Node) controlBackup(w http.ResponseWriter, r *http.Request) {
	began := false
	err := n.group.View(func(applied uint64, records iter.Seq2[[]byte, []byte]) error {
		head, hash, err := ledger.Describe(records)
		if err != nil {
			return err
		}
		began = true
		w.Header().Set("Content-Type", "application/octet-stream")
		out, err := ledger.NewExport(w, exportHeader("backup", n.cfg.Version, head, hash, applied, applied))
		if err != nil {
			return err
		}
		for k, v := range records {
			if err := out.Row(k, v); err != nil {
				return err
			}
		}
		return out.Close()
	})
	switch {
	case err != nil && began:
		n.log.ErrorContext(r.Context(), "backup broke off", "err", err)
		panic(http.ErrAbortHandler) // the client sees that the file is not whole
	case err != nil:
		answerError(w, err)
	default:
		n.log.InfoContext(r.Context(), "backup taken")
	}
}

func exportHeader(kind, version string, head ledger.Head, hash [32]byte, checkpoint, applied uint64) ledger.ExportHeader {
	return ledger.ExportHeader{
		Kind: kind, Cluster: head.Cluster.String(), Epoch: head.Epoch, Checkpoint: checkpoint, Applied: applied,
		Chain: hex.EncodeToString(head.Chain[:]), StateHash: hex.EncodeToString(hash[:]),
		Created: time.Now().UTC().Truncate(time.Second), Version: version,
	}
}

// SaveBackup writes what in yields to path, and the file is there only if it is whole.
func SaveBackup(in io.Reader, path string) (h ledger.ExportHeader, err error) {
	tmp := path + ".part"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return h, err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(tmp)))
		}
	}()
	if _, err := io.Copy(f, in); err != nil {
		return h, fmt.Errorf("the backup broke off: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return h, err
	}
	if err := ledger.ReadExport(f, ledger.ExportVisitor{Header: func(x ledger.ExportHeader) error { h = x; return nil }}); err != nil {
		return h, err
	}
	if err := f.Sync(); err != nil {
		return h, err
	}
	if err := os.Rename(tmp, path); err != nil {
		return h, err
	}
	return h, syncDirOf(path)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func syncDirOf(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// A Restored says what Restore made.
type Restored struct {
	Cluster      string
	Epoch        uint64
	Applied      uint64
	Node         horde.NodeID
	Former       int // members of the old federation, removed
	Users        int
	BackupOf     time.Time
	StateHash    string // of the backup
	NewStateHash string
}

// Restore makes data, which must be empty or absent, the directory of a federation of one
// that goes on where the backup ends. It is a fork and says so: a new node identity, a
// raised epoch and a link in the chain that names it, so that no node of the federation that
// the backup was taken of can take it for one of its own.
func Restore(file, data, name string) (Restored, error) {
	var out Restored
	if err := mustBeEmpty(data); err != nil {
		return out, err
	}
	f, err := os.Open(file)
	if err != nil {
		return out, err
	}
	defer f.Close()
	replay, head, err := replayExport(bufio.NewReader(f), nil)
	if err != nil {
		return out, err
	}
	m := replay.Machine()
	_, hash := m.StateHash()
	if got := hex.EncodeToString(hash[:]); got != head.StateHash {
		return out, fmt.Errorf("%s is not what it says: its state hash is %s, the header says %s", file, got, head.StateHash)
	}
	dir, err := openDataDir(data)
	if err != nil {
		return out, err
	}
	key, err := p2p.LoadOrCreateKey(dir.join("node.key"))
	if err != nil {
		return out, errors.Join(err, dir.Close())
	}
	pub := key.Public().(ed25519.PublicKey)
	self, err := p2p.IDFromKey(pub)
	if err != nil {
		return out, errors.Join(err, dir.Close())
	}
	for _, x := range m.Reader().Members() {
		if x.Active {
			out.Former++
		}
	}
	out.Users = m.Reader().Totals().Users
	me := horde.Member{ID: self, Name: name, PublicKey: pub, Voter: true, Active: true}
	if err := m.Fork(me); err != nil {
		return out, errors.Join(err, dir.Close())
	}
	if err := m.CheckInvariants(); err != nil {
		return out, errors.Join(fmt.Errorf("the restored ledger is not sound: %w", err), dir.Close())
	}
	h := m.Head()
	// The federation's file goes last: without it the directory counts as not founded.
	err = consensus.Install(dir.join("ledger"), string(self), h.Index, m.Rows())
	if err == nil {
		err = dir.setFederation(federation{Cluster: h.Cluster.String(), Epoch: h.Epoch, Members: []horde.Member{me}})
	}
	if err := errors.Join(err, dir.Close()); err != nil {
		return out, fmt.Errorf("restore: %w", err)
	}
	_, now := m.StateHash()
	out.Cluster, out.Epoch, out.Applied, out.Node = h.Cluster.String(), h.Epoch, h.Index, self
	out.BackupOf, out.StateHash, out.NewStateHash = head.Created, head.StateHash, hex.EncodeToString(now[:])
	return out, nil
}

func mustBeEmpty(data string) error {
	files, err := os.ReadDir(data)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(files) > 0 {
		return fmt.Errorf("%s is not empty: a backup is restored into a directory of its own, so that nothing is overwritten", data)
	}
	return nil
}

// A RecoverOptions says how to go on after a lost majority.
type RecoverOptions struct {
	Data  string
	Peers string // file; see ReadPeers
}

// A Peer is a line of the peers file, in raft's own form: who belongs to the federation from
// now on, this node among them. Address is a multiaddr, empty if the ledger's is right.
type Peer struct {
	ID      horde.NodeID `json:"id"`
	Address string       `json:"address"`
}

// ReadPeers reads a peers file, a JSON list of Peer.
func ReadPeers(path string) ([]Peer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var peers []Peer
	if err := json.Unmarshal(b, &peers); err != nil {
		return nil, fmt.Errorf(`%s: want [{"id": "12D3…", "address": "/ip4/…"}, …]: %w`, path, err)
	}
	for _, p := range peers {
		if p.ID == "" {
			return nil, fmt.Errorf("%s: an entry has no id", path)
		}
	}
	return peers, nil
}

// A Recovered says what Recover did.
type Recovered struct {
	Applied, Epoch uint64
	Node           horde.NodeID
	Kept, Removed  []string // names of members
}

// recoverFile holds the command that begins the new epoch until it is in the ledger.
const recoverFile = "recover"

// Recover makes the node of a stopped directory the only voter of its federation, after the
// others were lost: every entry of its log counts from now on. At its next start it writes
// the new epoch into the ledger; nodes of the old epoch are refused from then on.
func Recover(o RecoverOptions) (out Recovered, err error) {
	peers, err := ReadPeers(o.Peers)
	if err != nil {
		return out, err
	}
	dir, fed, err := openExisting(o.Data)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	out.Node, err = dir.identity()
	if err != nil {
		return out, err
	}
	keep, addrs := []horde.NodeID{}, map[horde.NodeID]string{}
	for _, p := range peers {
		keep = append(keep, p.ID)
		addrs[p.ID] = p.Address
	}
	if !slices.Contains(keep, out.Node) {
		return out, fmt.Errorf("%s does not name this node, %s: it must belong to the federation that it recovers", o.Peers, out.Node)
	}
	m := ledger.NewMachine()
	out.Applied, err = consensus.Recover(consensus.Config{Dir: dir.join("ledger"), Self: string(out.Node), Archive: dir.archive()}, m)
	if err != nil {
		return out, err
	}
	head := m.Head()
	if head.Cluster.String() != fed.Cluster {
		return out, errors.New("the ledger is not founded here: there is nothing to recover")
	}
	if me, ok := m.Reader().Member(out.Node); !ok || !me.Active || !me.Voter {
		return out, errors.New("this node may not vote: recover a node that may")
	}
	out.Epoch = head.Epoch + 1
	var members []horde.Member
	for _, x := range m.Reader().Members() {
		switch {
		case !x.Active:
			continue
		case !slices.Contains(keep, x.ID):
			out.Removed = append(out.Removed, x.Name)
			x.Active = false
		default:
			out.Kept = append(out.Kept, x.Name)
			if a := addrs[x.ID]; a != "" {
				x.Addrs = []string{a}
			}
		}
		delete(addrs, x.ID)
		members = append(members, x)
	}
	if len(addrs) > 0 {
		return out, fmt.Errorf("%s names nodes that are not members: %v", o.Peers, slices.Sorted(maps.Keys(addrs)))
	}
	if err := dir.write(recoverFile, ledger.EncodeRaiseEpoch(out.Epoch, keep, out.Applied)); err != nil {
		return out, err
	}
	return out, dir.setFederation(federation{Cluster: fed.Cluster, Epoch: out.Epoch, Members: members})
}

// Rejoin gives up what a stopped node knows of the ledger, so that it fetches the
// federation's at its next start; its identity, requests and outbox stay.
func Rejoin(data string, epoch uint64) (err error) {
	dir, fed, err := openExisting(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if epoch < fed.Epoch {
		return fmt.Errorf("this node knows epoch %d already: an epoch is never lowered", fed.Epoch)
	}
	fed.Epoch = epoch
	if err := dir.setFederation(*fed); err != nil {
		return err
	}
	return dir.write(healFile, []byte("the operator gave up this node's copy of the ledger"))
}

// openExisting locks a directory that a node has used before.
func openExisting(data string) (*dataDir, *federation, error) {
	if _, err := os.Stat(filepath.Join(data, "federation.json")); err != nil {
		return nil, nil, fmt.Errorf("there is no node in %s (say where with --data)", data)
	}
	dir, err := openDataDir(data)
	if errors.Is(err, errInUse) {
		return nil, nil, fmt.Errorf("the node of %s is running: stop it first", data)
	}
	if err != nil {
		return nil, nil, err
	}
	fed, err := dir.federation()
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	return dir, fed, nil
}

// identity is the id of the directory's key.
func (d *dataDir) identity() (horde.NodeID, error) {
	if _, err := os.Stat(d.join("node.key")); err != nil {
		return "", err
	}
	key, err := p2p.LoadOrCreateKey(d.join("node.key"))
	if err != nil {
		return "", err
	}
	return p2p.IDFromKey(key.Public().(ed25519.PublicKey))
}

// archive is where the archive is, empty if there is none.
func (d *dataDir) archive() string {
	if _, err := os.Stat(d.join(archiveDir)); err != nil {
		return ""
	}
	return d.join(archiveDir)
}

const archiveDir = "archive"
