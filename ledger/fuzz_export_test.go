package ledger

import (
	"bytes"
	"errors"
	"testing"
)

// What is read as an export is one, or is refused as none; nothing of a file is believed that
// its end does not vouch for.
func FuzzReadExport(f *testing.F) {
	var good bytes.Buffer
	out, err := NewExport(&good, ExportHeader{Kind: "full", Cluster: "c", Epoch: 1})
	if err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(out.Row([]byte("k"), []byte("v")), out.Entry(3, []byte("entry")), out.Final([]byte("k"), []byte("w")), out.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:good.Len()-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		visited := 0
		err := ReadExport(bytes.NewReader(b), ExportVisitor{
			Header: func(ExportHeader) error { visited++; return nil },
			Row:    func(_, _ []byte) error { return nil },
			Entry:  func(uint64, []byte) error { return nil },
			Final:  func(_, _ []byte) error { return nil },
		})
		if err != nil && !errors.Is(err, ErrExport) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if err == nil && visited != 1 {
			t.Fatalf("a whole export with %d headers", visited)
		}
	})
}

// A proof from anywhere holds or is refused, and what holds is what was signed.
func FuzzVerifyProof(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"head":{"accounts":"AA=="},"path":["AA=="],"size":1}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := VerifyProof(b)
		if err == nil && len(p.Head.PublicKey) == 0 {
			t.Fatal("a proof that nobody signed holds")
		}
		if err != nil && !errors.Is(err, ErrProof) {
			t.Fatalf("an error of no kind: %v", err)
		}
	})
}
