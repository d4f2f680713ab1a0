// Package blobtest is the suite that every blob.Store passes.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/blob"
)

// A Subject is a fresh store to be tested, with 1,000 bytes to a blob, 5,000 bytes in all and
// blobs that are kept for an hour. Clock sets what it takes for now.
type Subject struct {
	Store blob.Store
	Clock func(time.Time)
}

// Run tests stores made by open.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"put and get", putAndGet},
		{"replace", replace},
		{"bad names", badNames},
		{"delete", deletes},
		{"delete all", deleteAll},
		{"too large", tooLarge},
		{"quota", quota},
		{"age", age},
		{"many at once", many},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

const (
	job     = "0123abcd-0000-8000-8000-0000000000aa"
	request = "0123abcd-0000-8000-8000-0000000000bb"
)

func put(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, data); err != nil {
		t.Fatalf("Put(%s) = %v", name, err)
	}
}

// want checks a blob; nil means that there is none.
func want(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), name)
	if data == nil {
		if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, horde.RCRequestNotFound) {
			t.Errorf("Get(%s) = %d bytes, %v, want none", name, len(got), err)
		}
		return
	}
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("Get(%s) = %q, %v, want %q", name, got, err, data)
	}
}

func usage(t *testing.T, s blob.Store, want int64) {
	t.Helper()
	if got := s.Usage(); got != want {
		t.Errorf("Usage = %d, want %d", got, want)
	}
}

func putAndGet(t *testing.T, x Subject) {
	want(t, x.Store, job, nil)
	put(t, x.Store, job, []byte("an image"))
	put(t, x.Store, request+"_src", []byte{})
	want(t, x.Store, job, []byte("an image"))
	want(t, x.Store, request+"_src", []byte{})
	want(t, x.Store, request, nil)
	want(t, x.Store, "0123ABCD0000800080000000000000AA", []byte("an image")) // the same id, spelled otherwise
	usage(t, x.Store, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Store.Put(ctx, job, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Put with a cancelled context = %v", err)
	}
}

func replace(t *testing.T, x Subject) {
	put(t, x.Store, job, make([]byte, 900))
	put(t, x.Store, job, []byte("new"))
	want(t, x.Store, job, []byte("new"))
	usage(t, x.Store, 3)
}

func badNames(t *testing.T, x Subject) {
	for _, name := range []string{
		"", ".", "..", "tmp", "_src", "../" + job, "a/" + job, job + "/x", job + ".webp", job + "_", job + "_SRC",
		job + "_../../x", job + "_a234567890123456789012345", job + "\x00", job[1:], job + "0", "/etc/passwd", job + "_src\n",
	} {
		if err := x.Store.Put(t.Context(), name, nil); !errors.Is(err, horde.RCBadRequest) {
			t.Errorf("Put(%q) = %v, want a refusal", name, err)
		}
		if _, err := x.Store.Get(t.Context(), name); !errors.Is(err, horde.RCBadRequest) {
			t.Errorf("Get(%q) = %v, want a refusal", name, err)
		}
		if err := x.Store.Delete(t.Context(), name); !errors.Is(err, horde.RCBadRequest) {
			t.Errorf("Delete(%q) = %v, want a refusal", name, err)
		}
	}
}

func deletes(t *testing.T, x Subject) {
	put(t, x.Store, job, []byte("x"))
	for range 2 {
		if err := x.Store.Delete(t.Context(), job); err != nil {
			t.Fatalf("Delete = %v", err)
		}
		want(t, x.Store, job, nil)
		usage(t, x.Store, 0)
	}
}

func deleteAll(t *testing.T, x Subject) {
	put(t, x.Store, request+"_src", []byte("s"))
	put(t, x.Store, request+"_msk", []byte("m"))
	put(t, x.Store, job, []byte("j"))
	id, err := horde.ParseUUID(request)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := x.Store.DeleteAll(t.Context(), id); err != nil {
			t.Fatalf("DeleteAll = %v", err)
		}
	}
	want(t, x.Store, request+"_src", nil)
	want(t, x.Store, request+"_msk", nil)
	want(t, x.Store, job, []byte("j"))
	if x.Store.Has(t.Context(), request+"_src") || !x.Store.Has(t.Context(), job) {
		t.Error("Has knows a deleted blob, or not the one that is left")
	}
	usage(t, x.Store, 1)
}

func tooLarge(t *testing.T, x Subject) {
	put(t, x.Store, job, make([]byte, 1000))
	if err := x.Store.Put(t.Context(), job, make([]byte, 1001)); !errors.Is(err, horde.RCBadRequest) {
		t.Errorf("Put of 1,001 bytes = %v, want a refusal", err)
	}
	want(t, x.Store, job, make([]byte, 1000))
	usage(t, x.Store, 1000)
}

func quota(t *testing.T, x Subject) {
	for i := range 5 {
		put(t, x.Store, fmt.Sprintf("%s_%d", request, i), make([]byte, 1000))
	}
	if err := x.Store.Put(t.Context(), job, []byte("x")); !errors.Is(err, horde.RCUnavailable) {
		t.Errorf("Put into a full store = %v, want a refusal", err)
	}
	want(t, x.Store, job, nil)
	if err := x.Store.Delete(t.Context(), request+"_3"); err != nil {
		t.Fatal(err)
	}
	put(t, x.Store, job, []byte("x"))
	usage(t, x.Store, 4001)
}

func age(t *testing.T, x Subject) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	x.Clock(start)
	put(t, x.Store, request+"_src", []byte("old"))
	x.Clock(start.Add(time.Minute))
	put(t, x.Store, job, []byte("new"))
	if err := x.Store.Sweep(t.Context(), start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	want(t, x.Store, request+"_src", []byte("old"))
	if err := x.Store.Sweep(t.Context(), start.Add(time.Hour+time.Second)); err != nil {
		t.Fatal(err)
	}
	want(t, x.Store, request+"_src", nil)
	want(t, x.Store, job, []byte("new"))
	usage(t, x.Store, 3)
}

// many writes and deletes the same few names from several sides: a reader sees a whole blob or
// none, and in the end the accounts are right.
func many(t *testing.T, x Subject) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("%s_%d", request, i%3)
			data := bytes.Repeat([]byte{byte('a' + i)}, 10+i)
			for range 20 {
				if err := x.Store.Put(t.Context(), name, data); err != nil {
					t.Errorf("Put = %v", err)
				}
				got, err := x.Store.Get(t.Context(), name)
				if err == nil && (len(got) == 0 || len(got) != 10+int(got[0]-'a')) {
					t.Errorf("Get = %q, which nobody wrote", got)
				}
				if i == 0 {
					if err := x.Store.Delete(t.Context(), name); err != nil {
						t.Errorf("Delete = %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	sum := int64(0)
	for i := range 3 {
		got, err := x.Store.Get(t.Context(), fmt.Sprintf("%s_%d", request, i))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		sum += int64(len(got))
	}
	usage(t, x.Store, sum)
}
