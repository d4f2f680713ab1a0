package consensus

import (
	"bytes"
	"slices"
	"testing"
)

func TestEntry(t *testing.T) {
	for _, tt := range []struct {
		name      string
		stamp     int64
		proposals [][]byte
	}{
		{"one", 1700000000123, [][]byte{[]byte("x")}},
		{"none", 0, nil},
		{"an empty one", -5, [][]byte{{}, []byte("y"), {}}},
		{"long ones", 1, [][]byte{bytes.Repeat([]byte("a"), 300), bytes.Repeat([]byte("b"), 70_000)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := encodeEntry(tt.stamp, tt.proposals)
			stamp, proposals, err := decodeEntry(b)
			if err != nil || stamp != tt.stamp || !slices.EqualFunc(proposals, tt.proposals, bytes.Equal) {
				t.Errorf("decodeEntry = %d, %d proposals, %v", stamp, len(proposals), err)
			}
			for i := range min(len(b), 20) {
				if _, _, err := decodeEntry(b[:i]); err == nil {
					t.Errorf("the first %d bytes were accepted", i)
				}
			}
			if _, _, err := decodeEntry(append(b, 0)); err == nil {
				t.Error("a longer entry was accepted")
			}
			b[0]++
			if _, _, err := decodeEntry(b); err == nil {
				t.Error("an unknown version was accepted")
			}
		})
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encodeEntry(7, [][]byte{[]byte("x"), {}}))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		stamp, proposals, err := decodeEntry(b)
		if err != nil {
			return
		}
		again, p2, err := decodeEntry(encodeEntry(stamp, proposals))
		if err != nil || again != stamp || !slices.EqualFunc(proposals, p2, bytes.Equal) {
			t.Errorf("not the same after encoding again: %v", err)
		}
	})
}
