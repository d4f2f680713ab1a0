package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter)
		want   Error
	}{
		{"horde error", func(w http.ResponseWriter) {
			w.WriteHeader(401)
			io.WriteString(w, `{"message":"No such key.","rc":"InvalidAPIKey"}`)
		}, Error{401, "InvalidAPIKey", "No such key.", 0}},
		{"limiter with seconds", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(429)
			io.WriteString(w, `{"message":"2 per 1 second"}`)
		}, Error{429, "", "2 per 1 second", 3 * time.Second}},
		{"validation names the field", func(w http.ResponseWriter) {
			w.WriteHeader(400)
			io.WriteString(w, `{"message":"Input payload validation failed","errors":{"params.n":"too many"}}`)
		}, Error{400, "", "Input payload validation failed [params.n: too many]", 0}},
		{"a proxy's HTML", func(w http.ResponseWriter) {
			w.WriteHeader(502)
			io.WriteString(w, "<h1>Bad Gateway</h1>")
		}, Error{502, "", "<h1>Bad Gateway</h1>", 0}},
		{"nothing at all", func(w http.ResponseWriter) { w.WriteHeader(503) }, Error{503, "", "Service Unavailable", 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) }))
			defer srv.Close()
			c := Client{Base: srv.URL}
			_, err := c.Pop(context.Background(), Text, Pop{})
			var got *Error
			if !errors.As(err, &got) || *got != tt.want {
				t.Errorf("got %#v, want %#v", err, tt.want)
			}
		})
	}
}

func TestRetryAfterDate(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	h := http.Header{"Retry-After": {now.Add(90 * time.Second).Format(http.TimeFormat)}}
	if got, want := retryAfter(h, now), 90*time.Second; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	h.Set("Retry-After", now.Add(-time.Minute).Format(http.TimeFormat))
	if got := retryAfter(h, now); got != 0 {
		t.Errorf("a date that is past: got %v, want 0", got)
	}
}

func TestUploadIsABarePut(t *testing.T) {
	var got *http.Request
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	}))
	defer srv.Close()
	c := Client{Base: "http://unused", Key: "secret"}
	if err := c.Upload(context.Background(), srv.URL+"/x.webp?sig=1", []byte("webp")); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPut || string(body) != "webp" {
		t.Errorf("got %s %q, want PUT \"webp\"", got.Method, body)
	}
	for _, h := range []string{"Content-Type", "Apikey", "Client-Agent"} {
		if v, ok := got.Header[h]; ok {
			t.Errorf("header %s: got %v, want none", h, v)
		}
	}
}
