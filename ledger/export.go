package ledger

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// The format of an export, a ledger in one file: a checkpoint and the entries after it, described for
// others in docs/export.md.
//
//	magic "HRDEXPT\n"  version(4, big endian) = 1
//	blocks: type(1) size(4) body
//	  'H'  header, JSON, first
//	  'R'  row of the checkpoint: keyLen(4) key value; in the order of the keys
//	  'E'  entry of the log: index(8) data; ascending
//	  'F'  row of the stored state that the entries lead to, as 'R'
//	  'Z'  SHA-256 of all before this block, last

const (
	exportMagic   = "HRDEXPT\n"
	exportVersion = 1
	maxBlock      = 1 << 27
)

// ErrExport says that a file is not an export, or is damaged or cut short.
var ErrExport = errors.New("not a whole ledger export")

// An ExportHeader says what an export holds. It names no key and no address.
type ExportHeader struct {
	Kind       string    `json:"kind"` // "export" or "backup": a checkpoint alone
	Cluster    string    `json:"cluster"`
	Epoch      uint64    `json:"epoch"`
	Checkpoint uint64    `json:"checkpoint"` // index that the checkpoint is as of; 0: the entries begin with the genesis
	Applied    uint64    `json:"applied"`    // index that the stored state is as of
	Chain      string    `json:"chain"`      // head of the chain at Applied
	StateHash  string    `json:"state_hash"` // at Applied
	Created    time.Time `json:"created"`
	Version    string    `json:"version"` // of the program
}

// An ExportWriter writes an export block by block, in the order above.
type ExportWriter struct {
	w   *bufio.Writer
	sum hash.Hash
}

// NewExport begins an export.
func NewExport(w io.Writer, h ExportHeader) (*ExportWriter, error) {
	e := &ExportWriter{w: bufio.NewWriterSize(w, 256<<10), sum: sha256.New()}
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if err := e.write(binary.BigEndian.AppendUint32([]byte(exportMagic), exportVersion)); err != nil {
		return nil, err
	}
	return e, e.block('H', b)
}

func (e *ExportWriter) write(b []byte) error {
	e.sum.Write(b)
	_, err := e.w.Write(b)
	return err
}

func (e *ExportWriter) block(kind byte, parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if err := e.write(binary.BigEndian.AppendUint32([]byte{kind}, uint32(size))); err != nil {
		return err
	}
	for _, p := range parts {
		if err := e.write(p); err != nil {
			return err
		}
	}
	return nil
}

// Row writes a row of the checkpoint.
func (e *ExportWriter) Row(key, value []byte) error {
	return e.block('R', binary.BigEndian.AppendUint32(nil, uint32(len(key))), key, value)
}

// Entry writes an entry of the log as it stands there.
func (e *ExportWriter) Entry(index uint64, data []byte) error {
	return e.block('E', binary.BigEndian.AppendUint64(nil, index), data)
}

// Final writes a row of the state that the entries lead to.
func (e *ExportWriter) Final(key, value []byte) error {
	return e.block('F', binary.BigEndian.AppendUint32(nil, uint32(len(key))), key, value)
}

// Close ends the export; the writer below stays open.
func (e *ExportWriter) Close() error {
	if err := e.block('Z', e.sum.Sum(nil)); err != nil {
		return err
	}
	return e.w.Flush()
}

// An ExportVisitor is called for each block; nil functions are passed over.
type ExportVisitor struct {
	Header func(ExportHeader) error
	Row    func(key, value []byte) error
	Entry  func(index uint64, data []byte) error
	Final  func(key, value []byte) error
}

// ReadExport reads an export. Only when it returns without an error was it whole.
func ReadExport(r io.Reader, v ExportVisitor) error {
	in, sum := bufio.NewReaderSize(r, 256<<10), sha256.New()
	read := func(n int) ([]byte, error) {
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, fmt.Errorf("%w: cut short: %w", ErrExport, err)
		}
		return b, nil
	}
	head, err := read(len(exportMagic) + 4)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte(exportMagic)) {
		return fmt.Errorf("%w: it does not begin like one", ErrExport)
	}
	if n := binary.BigEndian.Uint32(head[len(exportMagic):]); n != exportVersion {
		return fmt.Errorf("%w: format version %d, this program knows %d", ErrExport, n, exportVersion)
	}
	sum.Write(head)
	for first := true; ; first = false {
		h, err := read(5)
		if err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(h[1:])
		if size > maxBlock {
			return fmt.Errorf("%w: a block of %d bytes", ErrExport, size)
		}
		body, err := read(int(size))
		if err != nil {
			return err
		}
		if h[0] == 'Z' {
			if _, err := in.ReadByte(); !bytes.Equal(body, sum.Sum(nil)) || err != io.EOF {
				return fmt.Errorf("%w: the checksum at its end is not right", ErrExport)
			}
			return nil
		}
		sum.Write(h)
		sum.Write(body)
		if first != (h[0] == 'H') {
			return fmt.Errorf("%w: the header is not its first block", ErrExport)
		}
		if err := v.visit(h[0], body); err != nil {
			return err
		}
	}
}

func (v *ExportVisitor) visit(kind byte, body []byte) error {
	switch kind {
	case 'H':
		var h ExportHeader
		if err := json.Unmarshal(body, &h); err != nil {
			return fmt.Errorf("%w: header: %w", ErrExport, err)
		}
		if v.Header != nil {
			return v.Header(h)
		}
	case 'R', 'F':
		f := v.Row
		if kind == 'F' {
			f = v.Final
		}
		if len(body) < 4 || uint64(binary.BigEndian.Uint32(body)) > uint64(len(body)-4) {
			return fmt.Errorf("%w: a row is malformed", ErrExport)
		}
		if n := 4 + binary.BigEndian.Uint32(body); f != nil {
			return f(body[4:n:n], body[n:])
		}
	case 'E':
		if len(body) < 8 {
			return fmt.Errorf("%w: an entry is malformed", ErrExport)
		}
		if v.Entry != nil {
			return v.Entry(binary.BigEndian.Uint64(body), body[8:])
		}
	default:
		return fmt.Errorf("%w: unknown block %q", ErrExport, kind)
	}
	return nil
}
