package api

import (
	"testing"
)

func TestMask(t *testing.T) {
	const value = `{"id":1,"name":"a","deep":{"x":1,"y":{"z":2}},"list":[{"x":1,"w":2},{"x":3}],"none":null}`
	for _, tt := range []struct{ mask, want string }{
		{"", value},
		{"*", value},
		{"id", `{"id":1}`},
		{"name,id", `{"id":1,"name":"a"}`}, // in the order of the value
		{"{id}", `{"id":1}`},
		{" id , name ", `{"id":1,"name":"a"}`},
		{"unknown", `{}`},
		{"deep", `{"deep":{"x":1,"y":{"z":2}}}`},
		{"deep{x}", `{"deep":{"x":1}}`},
		{"{id,deep{y{z}}}", `{"id":1,"deep":{"y":{"z":2}}}`},
		{"list{x}", `{"list":[{"x":1},{"x":3}]}`},
		{"*,deep{x}", `{"id":1,"name":"a","deep":{"x":1},"list":[{"x":1,"w":2},{"x":3}],"none":null}`},
		{"none{x}", `{"none":null}`},
	} {
		m, err := parseMask(tt.mask)
		if err != nil {
			t.Errorf("%q: %v", tt.mask, err)
			continue
		}
		got, err := m.apply([]byte(value))
		if err != nil || string(got) != tt.want {
			t.Errorf("%q: %s, %v, want %s", tt.mask, got, err, tt.want)
		}
	}
}

func TestMaskErrors(t *testing.T) {
	for _, s := range []string{"{id", "id}", "a{b", "a{}", ",", "a,,b", "a b", "{}", "a{b{c{d{e{f{g{h{i}}}}}}}}", string(make([]byte, maxMask+1))} {
		if m, err := parseMask(s); err == nil {
			t.Errorf("%.40q parsed: %+v", s, m)
		}
	}
	m, err := parseMask("id{x}")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.apply([]byte(`{"id":1}`)); err == nil {
		t.Errorf("braces after a number: %s", got)
	}
}

func TestMaskedAnswers(t *testing.T) {
	h := newHarness(t)
	id, _ := h.do("POST", "/api/v2/generate/async", aliceKey, `{"prompt":"x"}`, "X-Fields", "id").wants(202, "").object()["id"].(string)
	h.do("GET", "/api/v2/generate/check/"+id, "", nil, "X-Fields", "done,waiting").golden(`{"waiting":1,"done":false}`)
	h.do("GET", "/api/v2/generate/check/"+id, "", nil, "X-Fields", "none").golden(`{}`)
	h.do("POST", "/api/v2/generate/async", aliceKey, `{"prompt":"x"}`, "X-Fields", "{id").wants(400, "")
	if n := h.board.count(); n != 1 {
		t.Errorf("a malformed mask left %d requests, want 1", n)
	}
}

func FuzzMask(f *testing.F) {
	f.Add("a,b{c,*}", `{"a":1,"b":[{"c":null}]}`)
	f.Fuzz(func(t *testing.T, s, value string) {
		m, err := parseMask(s)
		if err != nil || m == nil {
			return
		}
		if v, err := parseJSON([]byte(value)); err != nil || v == nil {
			return
		}
		out, err := m.apply([]byte(value))
		if err != nil {
			return
		}
		if _, err := parseJSON(out); err != nil {
			t.Errorf("%q of %q is %q: %v", s, value, out, err)
		}
	})
}
