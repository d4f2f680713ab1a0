package node

import (
	"maps"
	"strings"
	"testing"

	"hordenode/node/jobs"
)

// A request with many images is handed over in several messages, and nothing of it is lost.
func TestHandoverParts(t *testing.T) {
	items := map[string][]byte{"r": make([]byte, 10), "s": make([]byte, 1), "jx": make([]byte, 5), "gx": make([]byte, 60), "gy": make([]byte, 60), "gz": nil}
	for _, name := range []string{"1", "2", "3"} {
		items[jobs.BlobItem(name)] = make([]byte, 60)
	}
	const most = 120
	got := map[string][]byte{}
	rank := 0
	for i, part := range handoverParts(items, most) {
		size := 0
		for what, data := range part {
			size += len(what) + len(data)
			if _, twice := got[what]; twice {
				t.Errorf("%q is sent twice", what)
			}
			got[what] = data
			if r := jobs.HandoverRank(what); r < rank {
				t.Errorf("%q comes in message %d, after what it must come before", what, i)
			}
		}
		for what := range part {
			rank = max(rank, jobs.HandoverRank(what)-1) // what shares a message may have any order
		}
		if size > most {
			t.Errorf("message %d has %d bytes, want %d at most", i, size, most)
		}
	}
	if !maps.EqualFunc(got, items, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Errorf("sent are %d items, want %d", len(got), len(items))
	}
	if got := handoverParts(items, 1<<20); len(got) != 1 {
		t.Errorf("what fits one message is sent in %d", len(got))
	}
	if got := handoverParts(map[string][]byte{"r": nil, "b1": []byte(strings.Repeat("x", 500))}, most); len(got) != 1 || len(got[0]) != 1 {
		t.Errorf("without the image that is too large there are %v", got)
	}
}
