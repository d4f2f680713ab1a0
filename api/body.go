package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	defaultBody  = 64 << 10 // largest body of a route that names none
	textBodyMax  = 2 << 20
	imageBodyMax = 20 << 20
	maxDepth     = 32     // nesting of JSON bodies
	maxValues    = 20_000 // values in a JSON body, so that a small body cannot become a large tree
)

// members is a decoded JSON object: numbers are json.Number.
type members map[string]any

// payload is what a handler can know of the body. It travels in the request's context.
type payload struct {
	raw  []byte
	root members // nil: no JSON object
}

type payloadKey struct{}

// bodyOf returns the body that readBody left.
func bodyOf(r *http.Request) payload {
	p, _ := r.Context().Value(payloadKey{}).(payload)
	return p
}

const (
	bodyTime  = 15 * time.Second // that every body may take to arrive
	slowestBy = 16 << 10         // and the bytes a second beyond that
)

// hurry sets until when the body must have come: who sends it byte by byte is left. For
// handlers that wait on purpose the time ends with the body.
func hurry(w http.ResponseWriter, r *http.Request, most int64, now time.Time) error {
	if r.ContentLength >= 0 {
		most = r.ContentLength
	}
	return deadline(w, now.Add(bodyTime+time.Duration(most)*time.Second/slowestBy))
}

// deadline sets until when the client must have sent; the zero time: whenever.
func deadline(w http.ResponseWriter, t time.Time) error {
	if err := http.NewResponseController(w).SetReadDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("set read deadline: %w", err)
	}
	return nil
}

// readBody reads and checks the body as its route wants it, and leaves it in the context of
// the request it returns. A body that is announced as too large is refused unread.
func readBody(rt route, w http.ResponseWriter, r *http.Request, now time.Time) (*http.Request, error) {
	most := rt.body
	if most == 0 {
		most = defaultBody
	}
	tooLarge := plain(http.StatusRequestEntityTooLarge, fmt.Sprintf("The body may have %d bytes at most.", most))
	if r.ContentLength > most {
		w.Header().Set("Connection", "close")
		return r, tooLarge
	}
	if r.Header.Get("Content-Encoding") != "" {
		return r, plain(http.StatusUnsupportedMediaType, "Compressed bodies are not accepted.")
	}
	if r.ContentLength != 0 {
		if err := hurry(w, r, most, now); err != nil {
			return r, err
		}
	}
	if rt.raw {
		r.Body = http.MaxBytesReader(w, r.Body, most)
		return r, nil
	}
	raw, err := readAll(http.MaxBytesReader(w, r.Body, most), r.ContentLength)
	if err == nil && r.ContentLength != 0 {
		err = deadline(w, time.Time{})
	}
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		w.Header().Set("Connection", "close")
		return r, tooLarge
	case errors.Is(err, errBulk):
		w.Header().Set("Connection", "close")
		return r, tooBusy()
	case err != nil:
		return r, plain(http.StatusBadRequest, "The body could not be read.")
	}
	var p payload
	if rt.schema == nil {
		if isJSON(r) {
			if v, err := parseJSON(raw); err == nil {
				root, _ := v.(map[string]any)
				p = payload{raw, root}
			}
		}
	} else {
		if !isJSON(r) {
			return r, plain(http.StatusBadRequest, "The body must be JSON, with that content type.")
		}
		v, err := parseJSON(raw)
		if err != nil {
			return r, plain(http.StatusBadRequest, "The body is not valid JSON: "+err.Error()+".")
		}
		if bad := rt.schema.check(v); len(bad) > 0 {
			return r, invalidAll(bad)
		}
		root, _ := v.(map[string]any)
		p = payload{raw, root}
	}
	return r.WithContext(context.WithValue(r.Context(), payloadKey{}, p)), nil
}

// readAll reads a body; announced is its Content-Length, -1 if unknown. Room is made as the
// bytes come: to announce a large body and to send nothing costs the sender more than us.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	var b bytes.Buffer
	if announced > 0 {
		b.Grow(int(min(announced, defaultBody)) + bytes.MinRead)
	}
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// isJSON tells whether the body calls itself JSON.
func isJSON(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json"))
}

// parseJSON decodes one JSON value of bounded depth and size. Of duplicate keys the last
// counts.
func parseJSON(raw []byte) (any, error) {
	if err := measure(raw); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, errors.New("it does not parse")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows its end")
	}
	return v, nil
}

// measure refuses bodies that are nested too deeply or hold too many values, before any
// memory is spent on them.
func measure(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("it is not UTF-8")
	}
	depth, values := 0, 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
			values++
		case ']', '}':
			depth--
		case ',':
			values++
		}
		if depth > maxDepth {
			return fmt.Errorf("it is nested more than %d deep", maxDepth)
		}
		if values > maxValues {
			return fmt.Errorf("it holds more than %d values", maxValues)
		}
	}
	return nil
}

// hasNUL tells whether a string somewhere in the JSON holds a NUL character.
func (p payload) hasNUL() bool {
	return bytes.Contains(p.raw, []byte(`\u0000`)) && anyNUL(map[string]any(p.root))
}

func anyNUL(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.IndexByte(v, 0) >= 0
	case []any:
		for _, e := range v {
			if anyNUL(e) {
				return true
			}
		}
	case map[string]any:
		for k, e := range v {
			if strings.IndexByte(k, 0) >= 0 || anyNUL(e) {
				return true
			}
		}
	}
	return false
}
