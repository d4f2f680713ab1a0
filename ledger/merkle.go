package ledger

import (
	"crypto/sha256"
	"slices"
)

// A merkle is the hash tree of RFC 6962 section 2.1 over a growing list of leaves, kept so
// that a changed leaf costs one hash for each level:
//
//	level 2           root
//	               /        \
//	level 1     n01          l2      a node without a neighbour goes up as it is
//	           /    \         |
//	level 0   l0    l1       l2      leaves: SHA-256(0x00 ‖ data)
//
// An inner node is SHA-256(0x01 ‖ left ‖ right), so no leaf can pass for a node.
type merkle struct {
	levels [][]digest // levels[0] are the leaves
}

const (
	merkleLeaf  = 0x00
	merkleInner = 0x01
)

func leafDigest(data []byte) digest {
	return sha256.Sum256(append([]byte{merkleLeaf}, data...))
}

func innerDigest(left, right *digest) digest {
	var b [1 + 2*len(digest{})]byte
	b[0] = merkleInner
	copy(b[1:], left[:])
	copy(b[1+len(digest{}):], right[:])
	return sha256.Sum256(b[:])
}

// size is the number of leaves.
func (m *merkle) size() int {
	if len(m.levels) == 0 {
		return 0
	}
	return len(m.levels[0])
}

// root is the hash of the whole tree: SHA-256 of nothing if it has no leaves.
func (m *merkle) root() digest {
	if m.size() == 0 {
		return sha256.Sum256(nil)
	}
	return m.levels[len(m.levels)-1][0]
}

// update makes the tree one of size leaves, no fewer than before. changed are the places of
// new and changed leaves, ascending and each once; leaf gives them.
func (m *merkle) update(size int, changed []int, leaf func(int) digest) {
	if size == 0 {
		return
	}
	if len(m.levels) == 0 {
		m.levels = [][]digest{nil}
	}
	m.levels[0] = append(m.levels[0], make([]digest, size-len(m.levels[0]))...)
	for _, i := range changed {
		m.levels[0][i] = leaf(i)
	}
	changed = slices.Clone(changed)
	for k := 0; len(m.levels[k]) > 1; k++ {
		below := m.levels[k]
		if k+1 == len(m.levels) {
			m.levels = append(m.levels, nil)
		}
		above := m.levels[k+1]
		above = append(above, make([]digest, (len(below)+1)/2-len(above))...)
		m.levels[k+1] = above
		for n, i := range changed {
			changed[n] = i / 2
		}
		changed = slices.Compact(changed)
		for _, i := range changed {
			if 2*i+1 < len(below) {
				above[i] = innerDigest(&below[2*i], &below[2*i+1])
			} else {
				above[i] = below[2*i]
			}
		}
	}
}

// path returns what proves that leaf i is in the tree: the neighbours on the way up.
func (m *merkle) path(i int) []digest {
	var path []digest
	for _, level := range m.levels {
		if n := i ^ 1; n < len(level) {
			path = append(path, level[n])
		}
		i /= 2
	}
	return path
}

// climb returns the root of a tree of size leaves that has leaf at place i, with path beside
// it; ok is false if the path has not the length that it must have.
func climb(leaf digest, i, size int, path []digest) (root digest, ok bool) {
	if i < 0 || i >= size {
		return digest{}, false
	}
	root = leaf
	for ; size > 1; i, size = i/2, (size+1)/2 {
		if i^1 >= size {
			continue
		}
		if len(path) == 0 {
			return digest{}, false
		}
		if i%2 == 0 {
			root = innerDigest(&root, &path[0])
		} else {
			root = innerDigest(&path[0], &root)
		}
		path = path[1:]
	}
	return root, len(path) == 0
}
