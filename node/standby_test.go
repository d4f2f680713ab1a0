package node

import (
	"testing"

	"hordenode/internal/horde"
	"hordenode/node/blob"
)

// shelf notes what is to be copied.
type shelf map[string]string

func (s shelf) CopyBlob(_ horde.UUID, name string, data []byte) { s[name] = string(data) }

// What workers put past the node into a bucket is copied when its result is taken.
func TestStoredImagesAreCopied(t *testing.T) {
	disk, err := blob.Open(blob.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	through, past := horde.UUID{1}.String(), horde.UUID{2}.String()
	for _, straight := range []bool{false, true} {
		copied := shelf{}
		s := copiedStore{disk, copied, straight}
		if err := s.Put(t.Context(), through, []byte("through")); err != nil {
			t.Fatal(err)
		}
		if err := disk.Put(t.Context(), past, []byte("past")); err != nil {
			t.Fatal(err)
		}
		if !s.Has(t.Context(), past) || s.Has(t.Context(), horde.UUID{3}.String()) {
			t.Errorf("straight %v: Has is wrong", straight)
		}
		if copied[through] != "through" || (copied[past] == "past") != straight {
			t.Errorf("straight %v: copied %v", straight, copied)
		}
	}
}
