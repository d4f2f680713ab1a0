package blobtest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Bucket is the little of the S3 protocol that blob.S3 uses, in memory: one bucket by any
// name, no signatures checked but those of presigned addresses' expiry. Tests that need no
// real server use it; `make s3` runs the same suite against one.
type Bucket struct {
	mu      sync.Mutex // guards the fields below
	objects map[string]object
	down    bool
}

type object struct {
	data []byte
	at   time.Time
	kind string
}

// Down makes the server answer 503 to everything, or not any more.
func (b *Bucket) Down(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

// Keys returns the keys of all objects, sorted.
func (b *Bucket) Keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys("")
}

func (b *Bucket) keys(prefix string) []string {
	var keys []string
	for k := range b.objects {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// ServeHTTP implements http.Handler.
func (b *Bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case b.down || err != nil:
		w.WriteHeader(http.StatusServiceUnavailable)
	case key == "" && r.Method == http.MethodGet:
		b.list(w, r.URL.Query().Get("prefix"))
	case r.Method == http.MethodPut:
		if b.objects == nil {
			b.objects = map[string]object{}
		}
		b.objects[key] = object{plainBody(r, body), time.Now(), r.Header.Get("Content-Type")}
		w.Header().Set("ETag", `"e"`)
	case r.Method == http.MethodDelete:
		delete(b.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		b.get(w, r, key)
	}
}

func (b *Bucket) get(w http.ResponseWriter, r *http.Request, key string) {
	o, ok := b.objects[key]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `<Error><Code>NoSuchKey</Code></Error>`)
		return
	}
	h := w.Header()
	h.Set("ETag", `"e"`)
	h.Set("Last-Modified", o.at.UTC().Format(http.TimeFormat))
	h.Set("Content-Length", fmt.Sprint(len(o.data)))
	h.Set("Content-Type", o.kind)
	if t := r.URL.Query().Get("response-content-type"); t != "" {
		h.Set("Content-Type", t)
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(o.data) // the client sees what is missing
	}
}

func (b *Bucket) list(w http.ResponseWriter, prefix string) {
	type contents struct {
		Key          string
		LastModified string
		ETag         string
		Size         int
	}
	var answer struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		IsTruncated bool
		Contents    []contents
	}
	for _, k := range b.keys(prefix) {
		o := b.objects[k]
		answer.Contents = append(answer.Contents, contents{k, o.at.UTC().Format(time.RFC3339), `"e"`, len(o.data)})
	}
	if err := xml.NewEncoder(w).Encode(answer); err != nil {
		panic(err) // the struct above encodes
	}
}

// plainBody takes the frames out of a body that was signed in pieces.
func plainBody(r *http.Request, body []byte) []byte {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return body
	}
	var plain []byte
	for rest := string(body); ; {
		head, tail, ok := strings.Cut(rest, "\r\n")
		size := 0
		if _, err := fmt.Sscanf(head, "%x;", &size); !ok || err != nil || size == 0 || size > len(tail) {
			return plain
		}
		plain = append(plain, tail[:size]...)
		rest = strings.TrimPrefix(tail[size:], "\r\n")
	}
}
