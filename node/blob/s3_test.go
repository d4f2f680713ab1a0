package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/blob"
	"hordenode/node/blob/blobtest"
)

// bucket starts a server in memory.
func bucket(t *testing.T) (*blobtest.Bucket, string) {
	t.Helper()
	b := &blobtest.Bucket{}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return b, server.URL
}

func openS3(t *testing.T, endpoint string, change ...func(*blob.S3Config)) *blob.S3 {
	t.Helper()
	cfg := blob.S3Config{
		Endpoint: endpoint, Bucket: "images", Prefix: t.Name() + "/", Keys: blob.Keys{Access: "access", Secret: "very secret"},
		MaxBlob: 1000, Quota: 5000, KeepFor: time.Hour,
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := blob.OpenS3(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3(t *testing.T) {
	_, endpoint := bucket(t)
	suite(t, endpoint)
}

// suite runs what every store passes, and what only an S3 does.
func suite(t *testing.T, endpoint string) {
	blobtest.Run(t, func(t *testing.T) blobtest.Subject {
		var now atomic.Pointer[time.Time]
		now.Store(new(time.Time))
		s := openS3(t, endpoint, func(c *blob.S3Config) { c.Now = func() time.Time { return *now.Load() } })
		return blobtest.Subject{Store: s, Clock: func(t time.Time) { now.Store(&t) }}
	})
	t.Run("presigned", func(t *testing.T) { presigned(t, endpoint) })
	t.Run("reopen", func(t *testing.T) { reopenS3(t, endpoint) })
	t.Run("neighbours", func(t *testing.T) { neighbours(t, endpoint) })
}

// bare sends a request as workers and clients do: no headers of ours.
func bare(t *testing.T, method, address string, body []byte) (int, http.Header, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, data
}

// presigned: a bare PUT stores, a bare GET reads, and the store learns of it.
func presigned(t *testing.T, endpoint string) {
	s := openS3(t, endpoint)
	put, ok := s.Presign(http.MethodPut, job, time.Minute)
	if !ok || strings.Contains(put, "very secret") {
		t.Fatalf("Presign = %q, %v", put, ok)
	}
	if s.Has(t.Context(), job) {
		t.Error("Has before the upload")
	}
	if status, _, body := bare(t, http.MethodPut, put, []byte("an image")); status != http.StatusOK {
		t.Fatalf("PUT = %d %s, want 200", status, body)
	}
	if !s.Has(t.Context(), job) || s.Usage() != 8 {
		t.Errorf("Has = %v, Usage = %d, want true, 8", s.Has(t.Context(), job), s.Usage())
	}
	get, ok := s.Presign(http.MethodGet, job, time.Minute)
	if !ok {
		t.Fatal("no address to read from")
	}
	status, header, body := bare(t, http.MethodGet, get, nil)
	if status != http.StatusOK || string(body) != "an image" || header.Get("Content-Type") != "image/webp" {
		t.Errorf("GET = %d %s %q, want 200 image/webp an image", status, header.Get("Content-Type"), body)
	}
	if _, ok := s.Presign(http.MethodDelete, job, time.Minute); ok {
		t.Error("an address to delete with")
	}
	if _, ok := s.Presign(http.MethodGet, "../"+job, time.Minute); ok {
		t.Error("an address of a bad name")
	}
	// A sweep learns of uploads as well, and of what is gone.
	other := request1 + "_1"
	put, _ = s.Presign(http.MethodPut, other, time.Minute)
	if status, _, _ := bare(t, http.MethodPut, put, make([]byte, 4992)); status != http.StatusOK {
		t.Fatal("second upload failed")
	}
	if s.Has(t.Context(), other) {
		t.Error("what is larger than a blob may be counts as uploaded")
	}
	if err := s.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := s.Usage(); got != 5000 {
		t.Errorf("Usage = %d after the sweep, want 5000", got)
	}
	// The quota is used up: no address to upload to, no room for others, and reading goes on.
	if address, ok := s.Presign(http.MethodPut, job, time.Minute); ok {
		t.Errorf("Presign of a full store = %q", address)
	}
	if err := s.Put(t.Context(), request1, []byte("x")); !errors.Is(err, horde.RCUnavailable) {
		t.Errorf("Put into a full store = %v, want a refusal", err)
	}
	if _, err := s.Get(t.Context(), other); !errors.Is(err, horde.RCBadRequest) {
		t.Errorf("Get of what is larger than a blob may be = %v, want a refusal", err)
	}
	if err := s.Sweep(t.Context(), time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := s.Usage(); got != 0 {
		t.Errorf("Usage = %d after all is too old, want 0", got)
	}
}

const request1 = "0123abcd-0000-8000-8000-0000000000cc"

// reopenS3: a node that was killed counts its blobs again.
func reopenS3(t *testing.T, endpoint string) {
	if err := openS3(t, endpoint).Put(t.Context(), job, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	second := openS3(t, endpoint)
	if got, err := second.Get(t.Context(), job); err != nil || string(got) != "kept" || second.Usage() != 4 {
		t.Errorf("Get = %q, %v, Usage = %d, want kept, 4", got, err, second.Usage())
	}
}

// neighbours: nodes that share a bucket leave each other's blobs alone.
func neighbours(t *testing.T, endpoint string) {
	a := openS3(t, endpoint, func(c *blob.S3Config) { c.Prefix = "nodes/a/" })
	b := openS3(t, endpoint, func(c *blob.S3Config) { c.Prefix = "nodes/b/" })
	if err := a.Put(t.Context(), job, []byte("of a")); err != nil {
		t.Fatal(err)
	}
	if err := b.Sweep(t.Context(), time.Now().Add(48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Get(t.Context(), job); err != nil || string(got) != "of a" || b.Usage() != 0 || b.Has(t.Context(), job) {
		t.Errorf("Get = %q, %v, want of a; the other has %d bytes", got, err, b.Usage())
	}
	if err := a.Delete(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

// A server that is down is a refusal that passes, and loses nothing.
func TestS3Away(t *testing.T) {
	b, endpoint := bucket(t)
	s := openS3(t, endpoint)
	if err := s.Put(t.Context(), job, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	b.Down(true)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := s.Put(ctx, request1, []byte("new")); !errors.Is(err, horde.RCUnavailable) {
		t.Errorf("Put = %v, want a refusal", err)
	}
	if _, err := s.Get(ctx, job); !errors.Is(err, horde.RCUnavailable) {
		t.Errorf("Get = %v, want a refusal", err)
	}
	if err := s.Sweep(ctx, time.Now().Add(48*time.Hour)); err == nil {
		t.Error("Sweep = nil")
	}
	if got := s.Usage(); got != 4 {
		t.Errorf("Usage = %d, want 4", got)
	}
	b.Down(false)
	if got, err := s.Get(t.Context(), job); err != nil || string(got) != "kept" {
		t.Errorf("Get = %q, %v, want kept", got, err)
	}
}

func TestS3Indirect(t *testing.T) {
	_, endpoint := bucket(t)
	s := openS3(t, endpoint, func(c *blob.S3Config) { c.Indirect = true })
	if address, ok := s.Presign(http.MethodPut, job, time.Minute); ok {
		t.Errorf("Presign = %q, want none", address)
	}
	public := openS3(t, endpoint, func(c *blob.S3Config) { c.PublicEndpoint = "https://images.example" })
	if address, ok := public.Presign(http.MethodGet, job, time.Minute); !ok || !strings.HasPrefix(address, "https://images.example/images/") {
		t.Errorf("Presign = %q, want one below the public endpoint", address)
	}
}

func TestOpenS3Refuses(t *testing.T) {
	for _, endpoint := range []string{"", "127.0.0.1:9000", "ftp://x", "https://user:pass@x", "http://"} {
		if _, err := blob.OpenS3(t.Context(), blob.S3Config{Endpoint: endpoint, Bucket: "b"}); err == nil || strings.Contains(err.Error(), "pass") {
			t.Errorf("%q: %v, want an error without secrets", endpoint, err)
		}
	}
}

func TestReadKeys(t *testing.T) {
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	k, err := blob.ReadKeys(write("good", " id \r\ns3cr3t/+=\n", 0o600))
	if err != nil || k.Access != "id" || string(k.Secret) != "s3cr3t/+=" {
		t.Errorf("ReadKeys = %v, %v", k, err)
	}
	for name, path := range map[string]string{
		"one line":        write("one", "id\n", 0o600),
		"three lines":     write("three", "id\ns\nmore\n", 0o600),
		"empty":           write("none", "", 0o600),
		"everybody reads": write("open", "id\ns3cr3t\n", 0o644),
		"missing":         filepath.Join(t.TempDir(), "missing"),
	} {
		if _, err := blob.ReadKeys(path); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v, want an error without the secret", name, err)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("opened", "keys", k, "secret", k.Secret)
	if all := log.String() + fmt.Sprintf("%v %+v %#v %s", k, k, k, k.Secret); strings.Contains(all, "s3cr3t") {
		t.Errorf("the secret is shown: %s", all)
	}
}
