package node

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"

	"hordenode/consensus"
	"hordenode/internal/horde"
	"hordenode/ledger"
)

// A Report is what VerifyLedger found.
type Report struct {
	Source     string   `json:"source"`
	Federation string   `json:"federation"`
	Epoch      uint64   `json:"epoch"`
	Begins     string   `json:"begins"`     // in words: with the genesis, or at which checkpoint
	Checkpoint uint64   `json:"checkpoint"` // 0: the genesis
	Applied    uint64   `json:"applied"`    // the stored state is as of this entry
	Entries    int      `json:"entries"`    // derived again
	Batches    int      `json:"batches"`    // signed by active members, in sequence
	Commands   int      `json:"commands"`
	Refused    int      `json:"refused"` // batches in the log that had no effect
	Earlier    int      `json:"earlier"` // batches before the checkpoint: signatures checked only
	Tail       int      `json:"tail"`    // entries after Applied, which may not be committed
	Rows       int      `json:"rows"`
	Accounts   int      `json:"accounts"`
	ChainHead  string   `json:"chain_head"`
	StateHash  string   `json:"state_hash"`
	Notes      []string `json:"notes"`
	Problems   []string `json:"problems"` // none: all that could be checked is right
}

// OK tells whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// A book is a stored ledger, read offline.
type book struct {
	dir     *dataDir
	fed     *federation
	offline *consensus.Offline
	start   consensus.StoredSnapshot // where the derivation begins
	genesis bool                     // it begins with the genesis instead
	begins  string
	entries iter.Seq2[consensus.Entry, error] // from there on
}

// openBook opens a stopped node's ledger and finds the oldest point from which everything up
// to its state can be derived.
func openBook(data string) (b *book, err error) {
	dir, fed, err := openExisting(data)
	if err != nil {
		return nil, err
	}
	b = &book{dir: dir, fed: fed}
	if b.offline, err = consensus.OpenOffline(dir.join("ledger"), dir.archive(), data); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	first, last := b.offline.Bounds()
	archive := b.offline.Archive()
	switch {
	case archive != nil && reachesBack(archive):
		b.begins = "with the genesis (archive)"
		if b.start, b.genesis = archive.Checkpoint(); b.genesis {
			b.begins = fmt.Sprintf("at the checkpoint of entry %d (archive)", b.start.Index)
		}
		b.genesis = !b.genesis
		b.entries = joined(archive.Entries(b.start.Index), b.offline)
	case last > 0 && first <= 1:
		b.begins, b.genesis = "with the genesis (log)", true
		b.entries = b.offline.Entries(0)
	default:
		for _, s := range b.offline.Snapshots() {
			if last == 0 || s.Index+1 >= first {
				b.start = s
				break
			}
		}
		if b.start.Index == 0 {
			return nil, errors.Join(errors.New("there is neither a snapshot nor the beginning of the log: nothing can be derived"), b.Close())
		}
		b.begins = fmt.Sprintf("at the checkpoint of entry %d (snapshot)", b.start.Index)
		b.entries = b.offline.Entries(0) // those before it are passed over by index
	}
	return b, nil
}

// reachesBack tells whether the archive begins with a checkpoint or with the genesis: the
// operator may have moved its beginning away.
func reachesBack(a *consensus.ArchiveReader) bool {
	if _, ok := a.Checkpoint(); ok {
		return true
	}
	for e, err := range a.Entries(0) {
		r := ledger.NewReplay()
		// Damage is for the derivation to find: it says what and where.
		return err != nil || applyEntry(r, e) != nil || r.Machine().Head().Cluster != ledger.ClusterID{}
	}
	return false
}

// joined are the archive's entries and then those of the log that it does not have.
func joined(archive iter.Seq2[consensus.Entry, error], log *consensus.Offline) iter.Seq2[consensus.Entry, error] {
	return func(yield func(consensus.Entry, error) bool) {
		var last uint64
		for e, err := range archive {
			if !yield(e, err) || err != nil {
				return
			}
			last = e.Index
		}
		for e, err := range log.Entries(last + 1) {
			if !yield(e, err) {
				return
			}
		}
	}
}

func (b *book) Close() error { return errors.Join(b.offline.Close(), b.dir.Close()) }

// replay begins a derivation.
func (b *book) replay() (*ledger.Replay, uint64, error) {
	r := ledger.NewReplay()
	if b.genesis {
		return r, 0, nil
	}
	rows, applied, err := snapshotRows(b.start)
	if err != nil {
		return nil, 0, err
	}
	return r, applied, r.Load(applied, rows)
}

// snapshotRows reads a checkpoint whole, since only then it can be trusted.
func snapshotRows(s consensus.StoredSnapshot) (iter.Seq2[[]byte, []byte], uint64, error) {
	type kv struct{ k, v []byte }
	var rows []kv
	applied, err := s.Read(func(k, v []byte) error { rows = append(rows, kv{k, v}); return nil })
	if err != nil {
		return nil, 0, fmt.Errorf("checkpoint %s: %w", s.Name, err)
	}
	return func(yield func(k, v []byte) bool) {
		for _, r := range rows {
			if !yield(r.k, r.v) {
				return
			}
		}
	}, applied, nil
}

// apply derives one entry.
func applyEntry(r *ledger.Replay, e consensus.Entry) error {
	stamp, proposals, err := consensus.DecodeEntry(e.Data)
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.Index, err)
	}
	return r.Apply(e.Index, stamp, sha256.Sum256(e.Data), proposals)
}

// VerifyLedger derives the ledger of a stopped node again and compares. The error says that it
// could not be checked; what is wrong with it is in the report.
func VerifyLedger(ctx context.Context, data string) (*Report, error) {
	b, err := openBook(data)
	var lost *consensus.ErrAmnesia
	if errors.As(err, &lost) {
		r := &Report{Source: data, Begins: "nowhere: the data is damaged"}
		r.problem("%v", err)
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := b.verify(ctx, data)
	return r, errors.Join(err, b.Close())
}

func (b *book) verify(ctx context.Context, data string) (*Report, error) {
	out := &Report{Source: data, Begins: b.begins, Applied: b.offline.Applied()}
	replay, from, err := b.replay()
	if err != nil {
		out.problem("%v", err)
		return out, nil
	}
	out.Checkpoint = from
	compared := false
	compare := func() error {
		compared = true
		rows, failed := b.offline.State()
		c, err := replay.Compare(rows)
		if err := errors.Join(failed(), err); err != nil {
			out.problem("the stored state cannot be read: %v", err)
			return nil
		}
		out.judge(replay, c)
		return nil
	}
	snapshots := b.offline.Snapshots()
	for e, err := range b.entries {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			out.problem("%v", err)
			return out, nil
		}
		if e.Index <= from {
			out.earlier(replay, e)
			continue
		}
		for len(snapshots) > 0 && snapshots[0].Index < e.Index {
			out.compareSnapshot(replay, snapshots[0], from)
			snapshots = snapshots[1:]
		}
		if e.Index > out.Applied && !compared {
			if err := compare(); err != nil {
				return nil, err
			}
		}
		if err := applyEntry(replay, e); err != nil {
			out.problem("%v", err)
			return out, nil
		}
		if e.Index > out.Applied {
			out.Tail++
		}
	}
	for _, s := range snapshots {
		out.compareSnapshot(replay, s, from)
	}
	if !compared {
		if err := compare(); err != nil {
			return nil, err
		}
	}
	if out.Tail > 0 {
		out.note("%d entries after the stored state can be applied; whether they are committed only a leader knows", out.Tail)
	}
	out.Entries -= out.Tail
	if got := replay.Machine().Head().Cluster.String(); got != b.fed.Cluster {
		out.problem("the ledger is of federation %s, the directory of %s", short(got), short(b.fed.Cluster))
	}
	return out, nil
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// earlier checks what an entry before the checkpoint can still show.
func (r *Report) earlier(replay *ledger.Replay, e consensus.Entry) {
	_, proposals, err := consensus.DecodeEntry(e.Data)
	if err != nil {
		r.problem("entry %d: %v", e.Index, err)
		return
	}
	for _, p := range proposals {
		r.Earlier++
		if err := replay.Signed(p); err != nil {
			r.note("entry %d, before the checkpoint: %v", e.Index, err)
		}
	}
}

// compareSnapshot holds a newer snapshot against what was derived up to it.
func (r *Report) compareSnapshot(replay *ledger.Replay, s consensus.StoredSnapshot, from uint64) {
	rows, applied, err := snapshotRows(s)
	if err != nil {
		r.problem("%v", err)
		return
	}
	if applied <= from || applied != replay.Machine().Head().Index {
		return
	}
	c, err := replay.Compare(rows)
	switch {
	case err != nil:
		r.problem("snapshot %s: %v", s.Name, err)
	case !c.Equal():
		r.problem("snapshot %s as of entry %d is not what its entries lead to: %s", s.Name, applied, strings.Join(c.Differences, "; "))
	}
}

// judge notes what was derived up to the stored state, and what differs from it.
func (r *Report) judge(replay *ledger.Replay, c ledger.Comparison) {
	head := replay.Machine().Head()
	r.Federation, r.Epoch = head.Cluster.String(), head.Epoch
	r.ChainHead, r.StateHash = hex.EncodeToString(head.Chain[:]), hex.EncodeToString(c.Derived[:])
	r.Entries, r.Batches, r.Commands, r.Refused = replay.Entries, replay.Batches, replay.Commands, replay.RefusedCount
	r.Rows, r.Accounts = c.Rows, c.Users
	if head.Cluster == (ledger.ClusterID{}) {
		r.problem("the entries do not begin with the genesis of a federation")
	}
	if head.Index != r.Applied {
		r.problem("the entries lead to %d, the stored state is as of %d: some are missing", head.Index, r.Applied)
	}
	if !c.Chain {
		r.problem("the head of the chain is %s derived, and another one stored: an entry is missing, more, or was changed", r.ChainHead[:16])
	}
	if c.Derived != c.Read {
		r.problem("the state hash is %x derived and %x stored", c.Derived[:8], c.Read[:8])
	}
	r.Problems = append(r.Problems, c.Differences...)
	if err := replay.Machine().CheckInvariants(); err != nil {
		r.problem("an invariant does not hold: %v", err)
	}
	for _, x := range replay.Refused {
		r.note("entry %d has a batch of %q without effect: %v", x.Index, x.Origin, x.Err)
	}
}

// VerifyExport does the same with an export or a backup, which needs no node.
func VerifyExport(ctx context.Context, path string) (*Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := &Report{Source: path}
	final := newRows()
	replay, h, err := replayExport(bufio.NewReader(readerWith{ctx, f}), final)
	if errors.Is(err, context.Canceled) {
		return nil, err
	}
	out.Checkpoint, out.Applied = h.Checkpoint, h.Applied
	out.Begins = "with the genesis (export)"
	if h.Checkpoint > 0 {
		out.Begins = fmt.Sprintf("at the checkpoint of entry %d (%s)", h.Checkpoint, h.Kind)
	}
	if err != nil {
		out.problem("%v", err)
		return out, nil
	}
	rows := final.all
	if h.Kind == "backup" { // the checkpoint is the state
		rows = replay.Machine().Rows()
	}
	c, err := replay.Compare(rows)
	if err != nil {
		out.problem("%v", err)
		return out, nil
	}
	out.judge(replay, c)
	if out.StateHash != h.StateHash || out.ChainHead != h.Chain || out.Federation != h.Cluster {
		out.problem("the header is of another state than what the file leads to")
	}
	return out, nil
}

// readerWith ends with its context.
type readerWith struct {
	ctx context.Context
	r   io.Reader
}

func (r readerWith) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// rows keeps what an export yields until it is whole.
type rows struct{ keys, values [][]byte }

func newRows() *rows { return &rows{} }

func (r *rows) add(k, v []byte) error {
	r.keys, r.values = append(r.keys, k), append(r.values, v)
	return nil
}

func (r *rows) all(yield func(k, v []byte) bool) {
	for i, k := range r.keys {
		if !yield(k, r.values[i]) {
			return
		}
	}
}

// replayExport derives what an export holds; final, if not nil, gets its stored state.
func replayExport(in io.Reader, final *rows) (*ledger.Replay, ledger.ExportHeader, error) {
	var h ledger.ExportHeader
	replay, checkpoint, loaded := ledger.NewReplay(), newRows(), false
	load := func() error {
		if loaded || len(checkpoint.keys) == 0 {
			return nil
		}
		loaded = true
		return replay.Load(h.Checkpoint, checkpoint.all)
	}
	v := ledger.ExportVisitor{
		Header: func(x ledger.ExportHeader) error { h = x; return nil },
		Row:    checkpoint.add,
		Entry: func(index uint64, data []byte) error {
			if err := load(); err != nil {
				return err
			}
			return applyEntry(replay, consensus.Entry{Index: index, Data: data})
		},
	}
	if final != nil {
		v.Final = final.add
	}
	err := ledger.ReadExport(in, v)
	if err == nil {
		err = load()
	}
	return replay, h, err
}

// ExportLedger writes the ledger of a stopped node to path: the oldest checkpoint, or nothing
// if it begins with the genesis, the entries up to the stored state, and that state.
func ExportLedger(ctx context.Context, data, path, version string) (h ledger.ExportHeader, err error) {
	b, err := openBook(data)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	in, out := io.Pipe()
	wrote := make(chan error, 1)
	go func() {
		err := b.export(ctx, out, version)
		wrote <- errors.Join(err, out.CloseWithError(err))
	}()
	h, err = SaveBackup(in, path)
	_ = in.CloseWithError(err) // ends the writer if it still writes; always nil
	if werr := <-wrote; werr != nil && !errors.Is(werr, io.ErrClosedPipe) {
		err = errors.Join(werr, ignoreMissing(os.Remove(path)))
	}
	return h, err
}

func (b *book) export(ctx context.Context, w io.Writer, version string) error {
	stored, failed := b.offline.State()
	head, hash, err := ledger.Describe(stored)
	if err := errors.Join(failed(), err); err != nil {
		return err
	}
	var rows iter.Seq2[[]byte, []byte]
	var from uint64
	if !b.genesis {
		if rows, from, err = snapshotRows(b.start); err != nil {
			return err
		}
	}
	out, err := ledger.NewExport(w, exportHeader("export", version, head, hash, from, b.offline.Applied()))
	if err != nil {
		return err
	}
	if rows != nil {
		for k, v := range rows {
			if err := out.Row(k, v); err != nil {
				return err
			}
		}
	}
	for e, err := range b.entries {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.Index <= from || e.Index > b.offline.Applied():
			continue
		}
		if err := out.Entry(e.Index, e.Data); err != nil {
			return err
		}
	}
	for k, v := range stored {
		if err := out.Final(k, v); err != nil {
			return err
		}
	}
	if err := failed(); err != nil {
		return err
	}
	return out.Close()
}

// A Movement is what one command did to a user's balances.
type Movement = ledger.Movement

// A Statement is a user's history as far as the retained log tells it.
type Statement struct {
	User     horde.UserID
	Name     string
	From     uint64      // index of the checkpoint that it begins after; 0: the genesis
	Opening  horde.Kudos // spendable balance at From
	Balance  horde.Kudos // at the end
	Escrow   horde.Kudos
	Held     horde.Kudos
	Complete bool // it begins with the genesis
}

// HistoryOf calls each for every movement of a user's balances that the log of a stopped node
// still tells, in order. who is a number or an alias such as alice#7.
func HistoryOf(ctx context.Context, data, who string, each func(Movement) error) (st Statement, err error) {
	text := who[strings.LastIndexByte(who, '#')+1:]
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return st, fmt.Errorf("%q is neither a user's number nor an alias such as alice#7", who)
	}
	st.User = horde.UserID(id)
	b, err := openBook(data)
	if err != nil {
		return st, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	replay, from, err := b.replay()
	if err != nil {
		return st, err
	}
	if u, ok := replay.Machine().Reader().User(st.User); ok {
		st.Opening = u.Kudos
	}
	st.From, st.Complete = from, b.genesis
	var failed error
	replay.Follow(st.User, func(m Movement) {
		if failed == nil {
			failed = each(m)
		}
	})
	for e, err := range b.entries {
		if err := errors.Join(err, failed, ctx.Err()); err != nil {
			return st, err
		}
		if e.Index <= from || e.Index > b.offline.Applied() {
			continue
		}
		if err := applyEntry(replay, e); err != nil {
			return st, err
		}
	}
	u, ok := replay.Machine().Reader().User(st.User)
	if !ok {
		return st, fmt.Errorf("there is no user %d", st.User)
	}
	st.Name, st.Balance, st.Escrow, st.Held = u.Alias(), u.Kudos, u.Escrow, u.Held
	return st, failed
}
