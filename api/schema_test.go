package api

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestSchema(t *testing.T) {
	s := object(
		must("name", text(2, 4)),
		may("n", whole(1, 20)),
		may("w", whole(64, 3072).times(64)),
		may("f", number(0.5, 1)),
		may("b", flag()),
		may("e", choice("x", "y")),
		may("tags", list(text(1, 3), 0, 3).distinct()),
		may("subs", list(object(must("id", text(1, 9)), may("k", whole(0, 5))), 1, 9)),
		may("free", object()),
	)
	for _, tt := range []struct{ name, value, want string }{
		{"all fine", `{"name":"ab","n":20,"w":128,"f":1,"b":true,"e":"y","tags":["a","b"],"subs":[{"id":"1"}],"free":{"x":1}}`, ""},
		{"unknown members", `{"name":"ab","more":null}`, ""},
		{"whole written as fraction", `{"name":"ab","n":2.0,"w":128.0}`, ""},
		{"no object", `[]`, "="},
		{"missing", `{}`, "name"},
		{"null", `{"name":null}`, "name"},
		{"short", `{"name":"a"}`, "name"},
		{"long", `{"name":"abcde"}`, "name"},
		{"characters, not bytes", `{"name":"ääää"}`, ""},
		{"number for string", `{"name":12}`, "name"},
		{"bounds", `{"name":"ab","n":21,"w":32,"f":0.4}`, "f n w"},
		{"not a multiple", `{"name":"ab","w":65}`, "w"},
		{"fraction for whole", `{"name":"ab","n":1.5}`, "n"},
		{"huge", `{"name":"ab","n":1e400}`, "n"},
		{"string for number", `{"name":"ab","n":"5","f":"1"}`, "f n"},
		{"boolean for number", `{"name":"ab","n":true}`, "n"},
		{"number for boolean", `{"name":"ab","b":1}`, "b"},
		{"not a choice", `{"name":"ab","e":"z"}`, "e"},
		{"repeated", `{"name":"ab","tags":["a","a"]}`, "tags"},
		{"too many items", `{"name":"ab","tags":["a","b","c",""]}`, "tags"},
		{"too few items", `{"name":"ab","subs":[]}`, "subs"},
		{"in items", `{"name":"ab","tags":["long",1],"subs":[{"id":"1"},{"k":6}]}`, "subs.1.id subs.1.k tags.0 tags.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := parseJSON([]byte(tt.value))
			if err != nil {
				t.Fatal(err)
			}
			got := slices.Sorted(maps.Keys(s.check(v)))
			if want := strings.Fields(tt.want); tt.want == "=" {
				if len(got) != 1 || got[0] != "" {
					t.Errorf("violations at %q, want one at the root", got)
				}
			} else if !slices.Equal(got, want) {
				t.Errorf("violations at %q, want %q", got, want)
			}
		})
	}
}

func TestSchemaTellsFewViolations(t *testing.T) {
	v, err := parseJSON([]byte(`[` + strings.Repeat("1,", 5000) + `1]`))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list(text(0, 1), 0, 10_000).check(v)); n != maxViolations {
		t.Errorf("%d violations told, want %d", n, maxViolations)
	}
}
