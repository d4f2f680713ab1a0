package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// argsOf are the arguments of a lenient endpoint.
func argsOf(t testing.TB, body, query string) *args {
	t.Helper()
	r := httptest.NewRequest("POST", "/x?"+query, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r, err := readBody(route{}, httptest.NewRecorder(), r, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return &args{r: r, body: bodyOf(r).root}
}

func TestLenientArguments(t *testing.T) {
	for _, tt := range []struct{ value, str, flag, integer, number string }{
		{`"12"`, "12", "error", "12", "12"},
		{`"12.9"`, "12.9", "error", "12", "12.9"},
		{`12.9`, "12.9", "error", "12", "12.9"},
		{`-0.5`, "-0.5", "error", "0", "-0.5"},
		{`1`, "1", "true", "1", "1"},
		{`0`, "0", "false", "0", "0"},
		{`true`, "true", "true", "1", "1"},
		{`false`, "false", "false", "0", "0"},
		{`"false"`, "false", "false", "error", "error"},
		{`"TRUE"`, "TRUE", "true", "error", "error"},
		{`"yes"`, "yes", "true", "error", "error"},
		{`""`, "", "false", "error", "error"},
		{`"maybe"`, "maybe", "error", "error", "error"},
		{`"NaN"`, "NaN", "error", "error", "error"},
		{`1e300`, "1e300", "error", "error", "1e+300"},
		{`9007199254740993`, "9007199254740993", "error", "9007199254740993", "9.007199254740992e+15"},
		{`{}`, "error", "error", "error", "error"},
		{`[1]`, "error", "error", "error", "error"},
		{`null`, "absent", "absent", "absent", "absent"},
	} {
		body := `{"x":` + tt.value + `}`
		got := func(read func(a *args) any) string {
			a := argsOf(t, body, "")
			v := read(a)
			if a.err != nil {
				return "error"
			}
			return fmt.Sprint(v)
		}
		show := func(name, got, want string) {
			if got != want {
				t.Errorf("%s of %s is %s, want %s", name, tt.value, got, want)
			}
		}
		show("str", got(func(a *args) any { return deref(a.optStr("x", 100)) }), tt.str)
		show("flag", got(func(a *args) any { return deref(a.optFlag("x")) }), tt.flag)
		show("integer", got(func(a *args) any { return deref(a.optInteger("x")) }), tt.integer)
		show("number", got(func(a *args) any { return deref(a.optNumber("x")) }), tt.number)
	}
}

func deref[T any](p *T) any {
	if p == nil {
		return "absent"
	}
	return *p
}

func TestFirstFailingArgumentIsTold(t *testing.T) {
	a := argsOf(t, `{"b":"x","c":{},"d":"toolong","sub":{"e":[]}}`, "q=x&r=5")
	a.integer("b", 0)
	a.number("c", 0)
	if got := fmt.Sprint(a.err.(*httpError).fields); !strings.HasPrefix(got, "map[b:") {
		t.Errorf("told %s", got)
	}
	for name, read := range map[string]func(a *args){
		"missing": func(a *args) { a.need("missing").str("missing", 5) },
		"apikey":  func(a *args) { a.apikey() },
		"d":       func(a *args) { a.str("d", 6) },
		"e":       func(a *args) { a.within("sub").integer("e", 0) },
		"q":       func(a *args) { a.queryInt("q", 0) },
		"c":       func(a *args) { a.strs("c", 5) },
	} {
		a := argsOf(t, `{"b":"x","c":{},"d":"toolong","sub":{"e":[]}}`, "q=x&r=5")
		read(a)
		if a.err == nil {
			t.Errorf("%s: no error", name)
		} else if _, ok := a.err.(*httpError).fields[name]; !ok {
			t.Errorf("%s: told %v", name, a.err.(*httpError).fields)
		}
	}
	if a := argsOf(t, `{"x":null}`, "r=5"); a.need("x").str("x", 5) != "" || a.queryInt("r", 0) != 5 || a.queryInt("s", 9) != 9 || a.err != nil {
		t.Errorf("null is no value for a required argument: %v", a.err)
	}
}

func TestBrokenBodyIsEmptyWhereNotValidated(t *testing.T) {
	for _, body := range []string{"", "{broken", "[]", "5", strings.Repeat("[", 100)} {
		if a := argsOf(t, body, ""); len(a.body) != 0 {
			t.Errorf("%q is %v", body, a.body)
		}
	}
}

func TestMeasureSkipsStrings(t *testing.T) {
	v, err := parseJSON([]byte(`{"a":"[[[[\"{{,,,` + strings.Repeat("[,{", 2*maxValues) + `"}`))
	if err != nil || len(v.(map[string]any)["a"].(string)) < maxValues {
		t.Errorf("brackets in a string count: %v", err)
	}
}

func TestTruncate(t *testing.T) {
	for _, tt := range []struct {
		s    string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abc", 2, "ab"}, {"äöü", 2, "äö"}, {"äöü", 3, "äöü"}, {"", 0, ""}, {"a", 0, ""}} {
		if got := truncate(tt.s, tt.n); got != tt.want {
			t.Errorf("truncate(%q, %d) = %q, want %q", tt.s, tt.n, got, tt.want)
		}
	}
}

// fuzzDecoder feeds bodies to a request decoder: whatever passes the schema is read without
// an argument error but for those that the schema leaves to the arguments.
func fuzzDecoder(f *testing.F, s *schema, leftOver string, q func() reader, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parseJSON(body)
		if err != nil {
			return
		}
		root, ok := v.(map[string]any)
		if bad := s.check(v); len(bad) > 0 {
			return
		} else if !ok {
			t.Fatalf("%.100q passed for an object", body)
		}
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("apikey", "k")
		r = r.WithContext(context.WithValue(r.Context(), payloadKey{}, payload{body, root}))
		if err := decode(r, q()); err != nil {
			for field := range err.(*httpError).fields {
				if !strings.Contains(leftOver, field) {
					t.Errorf("%.200q passed the schema, but %s failed: %v", body, field, err.(*httpError).fields)
				}
			}
		}
	})
}

func FuzzImageRequest(f *testing.F) {
	fuzzDecoder(f, imageRequestSchema(), "prompt", func() reader { return new(imageOrder) }, `{"prompt":"x"}`, `{"prompt":"x","params":{"seed":"","loras":[{"name":"a"}],"steps":3.0,"special":{"a":null}},"workers":["x"],"extra_source_images":[{}]}`)
}

func FuzzImagePop(f *testing.F) {
	fuzzDecoder(f, imagePopSchema(), "name", func() reader { return new(imagePopRequest) }, popBody)
}

func FuzzImageSubmit(f *testing.F) {
	fuzzDecoder(f, imageSubmitSchema(), "generation seed", func() reader { return new(submitRequest) }, `{"id":"x","generation":"R2","seed":1,"gen_metadata":[{"type":"lora","value":"see_ref","ref":"x"}]}`)
}

func FuzzTextRequest(f *testing.F) {
	fuzzDecoder(f, textRequestSchema(), "prompt", func() reader { return new(textOrder) }, `{"prompt":"x","params":{"n":2,"sampler_order":[1,2],"stop_sequence":[""]}}`)
}

func FuzzTextPop(f *testing.F) {
	fuzzDecoder(f, textPopSchema(), "", func() reader { return new(textPopRequest) }, `{"name":"w","models":["abc"],"softprompts":[""],"max_length":5.0}`)
}

func FuzzTextSubmit(f *testing.F) {
	fuzzDecoder(f, textSubmitSchema(), "generation seed", func() reader { return new(submitRequest) }, `{"id":"x","generation":"","seed":"5"}`)
}

func FuzzSeedNumber(f *testing.F) {
	f.Add("42")
	f.Add("abc")
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" || len(s) > maxSeed {
			return
		}
		b := imageBody{Seed: new(uint32), Variation: 1000}
		*b.Seed = seedNumber(s)
		var n uint32
		if err := json.Unmarshal([]byte(b.seedOf(20, func() uint64 { return 0 })), &n); err != nil {
			t.Errorf("seed of %q is no 32-bit number: %v", s, err)
		}
	})
}
