package ledger

import "testing"

// A stored row from anywhere is loaded or refused; it crashes nobody, and what it is loaded
// into a machine for can be hashed and stored again.
func FuzzLoadRow(f *testing.F) {
	for _, row := range recordings(f)[0].Rows {
		f.Add(row.Key, row.Value)
	}
	f.Add([]byte{1}, []byte{0xa0})
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m := NewMachine()
		if m.Load(1<<40, disk{string(key): value}.all()) != nil {
			return
		}
		m.StateHash()
		m.Changes()
	})
}
