package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

const (
	maxMask      = 4096 // bytes of an X-Fields header
	maxMaskDepth = 8
)

// A mask is a parsed X-Fields header: the members to keep of an object, or of each object
// of an array. The grammar is "a,b{c,d},*" with optional outer braces
// (spec/moderation.md section 4).
type mask struct {
	all    bool // "*": the members that are not named are kept as well
	fields map[string]*mask
}

// parseMask reads a header; empty means no mask.
func parseMask(s string) (*mask, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil
	}
	if len(s) > maxMask {
		return nil, maskError("it is too long")
	}
	p := maskParser{s: s}
	outer := p.accept('{')
	m, err := p.list(1)
	if err != nil {
		return nil, err
	}
	if outer && !p.accept('}') {
		return nil, maskError("a brace is not closed")
	}
	if p.skip(); p.at < len(p.s) {
		return nil, maskError("unexpected " + p.s[p.at:p.at+1])
	}
	return m, nil
}

func maskError(what string) error {
	return plain(http.StatusBadRequest, "Mask parse error: "+what)
}

type maskParser struct {
	s  string
	at int
}

func (p *maskParser) skip() {
	for p.at < len(p.s) && (p.s[p.at] == ' ' || p.s[p.at] == '\t') {
		p.at++
	}
}

// accept consumes c if it is next.
func (p *maskParser) accept(c byte) bool {
	p.skip()
	if p.at < len(p.s) && p.s[p.at] == c {
		p.at++
		return true
	}
	return false
}

// list reads names up to a closing brace or the end.
func (p *maskParser) list(depth int) (*mask, error) {
	if depth > maxMaskDepth {
		return nil, maskError("it is nested too deeply")
	}
	m := &mask{fields: map[string]*mask{}}
	for {
		name := p.name()
		switch {
		case name == "":
			return nil, maskError("a field name is missing")
		case name == "*":
			m.all = true
		default:
			m.fields[name] = nil
			if p.accept('{') {
				sub, err := p.list(depth + 1)
				if err != nil {
					return nil, err
				}
				if !p.accept('}') {
					return nil, maskError("a brace is not closed")
				}
				m.fields[name] = sub
			}
		}
		if !p.accept(',') {
			return m, nil
		}
	}
}

func (p *maskParser) name() string {
	p.skip()
	from := p.at
	for p.at < len(p.s) && !strings.ContainsRune("{}, \t", rune(p.s[p.at])) {
		p.at++
	}
	return p.s[from:p.at]
}

// apply returns the JSON value without what the mask does not name, in the same order.
func (m *mask) apply(value []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := m.write(&out, value); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (m *mask) write(out *bytes.Buffer, value []byte) error {
	value = bytes.TrimSpace(value)
	if m == nil || len(value) == 0 || bytes.Equal(value, []byte("null")) {
		out.Write(value)
		return nil
	}
	switch value[0] {
	case '{':
		return m.writeObject(out, value)
	case '[':
		return m.writeArray(out, value)
	}
	return plain(http.StatusBadRequest, "Mask error: braces follow a field that has no fields")
}

func (m *mask) writeObject(out *bytes.Buffer, value []byte) error {
	dec := json.NewDecoder(bytes.NewReader(value))
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("mask an object: %w", err)
	}
	out.WriteByte('{')
	first := true
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return fmt.Errorf("mask an object: %w", err)
		}
		var member json.RawMessage
		if err := dec.Decode(&member); err != nil {
			return fmt.Errorf("mask an object: %w", err)
		}
		name, _ := key.(string)
		sub, named := m.fields[name]
		if !named && !m.all {
			continue
		}
		if !first {
			out.WriteByte(',')
		}
		first = false
		quoted, err := json.Marshal(name)
		if err != nil {
			return fmt.Errorf("mask an object: %w", err)
		}
		out.Write(quoted)
		out.WriteByte(':')
		if err := sub.write(out, member); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	return nil
}

func (m *mask) writeArray(out *bytes.Buffer, value []byte) error {
	var items []json.RawMessage
	if err := json.Unmarshal(value, &items); err != nil {
		return fmt.Errorf("mask an array: %w", err)
	}
	out.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := m.write(out, item); err != nil {
			return err
		}
	}
	out.WriteByte(']')
	return nil
}
