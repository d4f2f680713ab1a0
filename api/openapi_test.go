package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hordenode/api/openapi"
	"hordenode/internal/horde"
)

func TestEveryRouteIsDocumented(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	ids := map[string]string{}
	for _, op := range h.s.documentation().Operations {
		at := op.Method + " " + op.Path
		if !op.Is() {
			t.Errorf("%s is served but not documented: say what it is for in api/openapi (operations.go, or node.go if it is ours)", at)
		}
		if op.ID == "" || ids[op.ID] != "" {
			t.Errorf("%s has the id %q, as has %s", at, op.ID, ids[op.ID])
		}
		ids[op.ID] = at
	}
}

// What is documented is served, by the route and not by a neighbour with a wildcard; what is
// not served yet is on a list that must not grow.
func TestDocumentedOperationsAreServed(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	served := map[string]bool{}
	for _, op := range h.s.documentation().Operations {
		served[op.Method+" "+op.Path] = true
		r := httptest.NewRequest(op.Method, strings.NewReplacer("{", "", "}", "").Replace(op.Path), nil)
		if _, pattern := h.s.mux.Handler(r); anonymous(strings.TrimSuffix(pattern, "{$}")) != anonymous(op.Path) && !covers(pattern, op.Path) {
			t.Errorf("%s %s is documented, but routed to %q", op.Method, op.Path, pattern)
		}
	}
	reference := lines(t, "testdata/reference-operations.txt")
	expected := lines(t, "testdata/unserved-operations.txt")
	var missing []string
	for _, op := range openapi.Operations() {
		if at := op.Method + " " + op.Path; !served[at] {
			missing = append(missing, at)
			if !slices.Contains(reference, at) {
				t.Errorf("%s is documented in api/openapi, but there is no such route", at)
			}
		}
	}
	t.Logf("%d of %d operations of the reference are not served yet: %s", len(missing), len(reference), strings.Join(missing, ", "))
	for _, at := range missing {
		if !slices.Contains(expected, at) {
			t.Errorf("%s is no longer served", at)
		}
	}
	for _, at := range expected {
		if !slices.Contains(missing, at) {
			t.Logf("%s is served now: take it from testdata/unserved-operations.txt", at)
		}
	}
	for _, at := range reference {
		if !served[at] && !slices.Contains(missing, at) {
			t.Errorf("%s of the reference is not in api/openapi", at)
		}
	}
}

// nodeEndpoints stand for what the node serves itself.
func nodeEndpoints() []Endpoint {
	var list []Endpoint
	for _, op := range openapi.Operations() {
		if op.Node {
			path := op.Path
			if strings.HasSuffix(path, "/") {
				path += "{$}"
			}
			list = append(list, Endpoint{Method: op.Method, Path: path, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })})
		}
	}
	return list
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// Both documents are complete: every model that is mentioned is there.
func TestDocumentsAreWhole(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	for path, prefix := range map[string]string{"/api/swagger.json": "#/definitions/", "/api/openapi.json": "#/components/schemas/"} {
		a := h.do("GET", path, "", nil).wants(200, "")
		if got := a.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
			t.Errorf("%s: Content-Type %q", path, got)
		}
		var doc any = a.object()
		models := doc
		for key := range strings.SplitSeq(strings.Trim(prefix, "#/"), "/") {
			models, _ = models.(map[string]any)[key].(map[string]any)
		}
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case []any:
				for _, e := range v {
					walk(e)
				}
			case map[string]any:
				if ref, ok := v["$ref"].(string); ok {
					name, known := strings.CutPrefix(ref, prefix)
					if _, there := models.(map[string]any)[name]; !known || !there {
						t.Errorf("%s mentions %s, which it does not have", path, ref)
					}
				}
				for _, e := range v {
					walk(e)
				}
			}
		}
		walk(doc)
		if n := len(models.(map[string]any)); n < 50 {
			t.Errorf("%s has %d models, want more than 50", path, n)
		}
		if again := h.do("GET", path, "", nil, "If-None-Match", a.header.Get("ETag")); again.status != http.StatusNotModified {
			t.Errorf("%s again with its ETag: status %d, want 304", path, again.status)
		}
	}
}

// What the documents say of bodies is what is enforced, whichever route said it last.
func TestBodiesAreDocumentedAsEnforced(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	doc := h.s.documentation()
	checked := 0
	for _, rt := range h.s.routes() {
		for _, op := range operationsOf(rt, doc.Operations) {
			if rt.schema == nil || op.Body.Ref == "" {
				continue
			}
			checked++
			compareBodies(t, op.Method+" "+op.Path, doc.Models, op.Body, rt.schema.shape())
		}
	}
	if checked < 4 {
		t.Errorf("%d bodies were compared, want 4 at least", checked)
	}
}

func compareBodies(t *testing.T, at string, models openapi.Models, told, enforced openapi.Shape) {
	t.Helper()
	if told.Items != nil && enforced.Items != nil {
		compareBodies(t, at+".[]", models, *told.Items, *enforced.Items)
	}
	if told.Ref == "" && (told.Kind != enforced.Kind || !reflect.DeepEqual(told.Min, enforced.Min) || !reflect.DeepEqual(told.Max, enforced.Max) || !slices.Equal(told.Choices, enforced.Choices)) {
		t.Errorf("%s: told %+v, enforced %+v", at, told, enforced)
	}
	members := told.Members
	if told.Ref != "" {
		members = models.Flat(told.Ref)
	}
	for _, f := range enforced.Members {
		i := slices.IndexFunc(members, func(m openapi.Member) bool { return m.Name == f.Name })
		if i < 0 || members[i].Required != f.Required {
			t.Errorf("%s: member %s is not told, or not whether it is required", at, f.Name)
			continue
		}
		compareBodies(t, at+"."+f.Name, models, members[i].Shape, f.Shape)
	}
}

// What handlers answer with is what the models say.
func TestAnswersAreAsDocumented(t *testing.T) {
	models := openapi.All()
	for model, dto := range map[string]any{
		"UserDetails": userDetails{}, "UserKudosDetails": userKudosDetails{}, "UserRecords": userRecords{}, "UserThingRecords": workRecord{}, "UserAmountRecords": countRecord{},
		"MonthlyKudos": monthlyKudos{}, "UsageDetails": oldUsage{}, "ContributionsDetails": oldContributions{}, "UserActiveGenerations": activeRequests{},
		"WorkerDetails": workerDetails{}, "WorkerKudosDetails": workerKudosDetails{},
		"HordeModes": modes{}, "KudosAwarded": awarded{}, "RequestValidationError": message{},
	} {
		members := map[string]openapi.Shape{}
		for _, m := range models.Flat(model) {
			members[m.Name] = m.Shape
		}
		if len(members) == 0 {
			t.Errorf("there is no model %s", model)
		}
		dt := reflect.TypeOf(dto)
		for i := range dt.NumField() {
			name, _, _ := strings.Cut(dt.Field(i).Tag.Get("json"), ",")
			shape, known := members[name]
			switch {
			case !known:
				t.Errorf("%s: %s is answered, but not told", model, name)
			case shape.Ref == "" && !slices.Contains(kindsOf(dt.Field(i).Type), shape.Kind):
				t.Errorf("%s: %s is told to be %s, and is %s", model, name, shape.Kind, dt.Field(i).Type)
			}
			delete(members, name)
		}
		if left := slices.Sorted(maps.Keys(members)); len(left) > 0 {
			t.Logf("%s: told, but never answered: %s", model, strings.Join(left, ", "))
		}
	}
}

// What PUT answers with is what the models say, in name and kind.
func TestChangesAreAnsweredAsDocumented(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	compareAnswers(t, "ModifyUser", h.s.userChanger().settings, horde.User{})
	compareAnswers(t, "ModifyWorker", h.s.workerChanger().settings, horde.Worker{})
}

func compareAnswers[C, R any](t *testing.T, model string, settings []setting[C, R], r R) {
	t.Helper()
	members := openapi.All().Flat(model)
	for _, f := range settings {
		if f.told == nil {
			continue
		}
		i := slices.IndexFunc(members, func(m openapi.Member) bool { return m.Name == f.answered() })
		switch told := f.told(*new(C), r); {
		case i < 0:
			t.Errorf("%s: %s is answered, but not told", model, f.answered())
		case !slices.Contains(kindsOf(reflect.TypeOf(told)), members[i].Shape.Kind):
			t.Errorf("%s: %s is told to be %s, and is %T", model, f.answered(), members[i].Shape.Kind, told)
		}
	}
}

// kindsOf are what a field of a DTO may be told to be.
func kindsOf(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Implements(reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()) {
		return []string{"string"}
	}
	switch t.Kind() {
	case reflect.String:
		return []string{"string"}
	case reflect.Bool:
		return []string{"boolean"}
	case reflect.Float64:
		return []string{"number", "integer"} // the reference calls some integers that may have a fraction
	case reflect.Slice:
		return []string{"array"}
	case reflect.Struct, reflect.Map:
		return []string{"object"}
	}
	return []string{"integer", "number"}
}

func TestDocumentationPage(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	if a := h.do("GET", "/api", "", nil); a.status != http.StatusPermanentRedirect || a.header.Get("Location") != "/api/" {
		t.Errorf("/api: status %d to %q, want 308 to /api/", a.status, a.header.Get("Location"))
	}
	a := h.do("GET", "/api/", "", nil).wants(200, "")
	for _, want := range []string{`id="get_users"`, "/api/v2/users/{user_id}", `id="model-UserDetails"`, `data-path="/api/v2/status/performance"`, "curl -s", "90 per 1 minute"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("/api/ lacks %s", want)
		}
	}
	for _, bad := range []string{"<script>", " style=", " onclick=", "://unpkg", "ZgotmplZ"} {
		if strings.Contains(a.body, bad) {
			t.Errorf("/api/ has %s", bad)
		}
	}
	if got := a.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("/api/: Content-Type %q", got)
	}
	h.do("GET", "/api/nothing", "", nil).wants(404, "")
}

// A route that nobody documented is described by its path, and found by the test above.
func TestUndocumentedRoute(t *testing.T) {
	ops := operationsOf(route{method: "GET", path: "/api/v2/new/{thing}"}, openapi.Operations())
	if len(ops) != 1 || ops[0].Is() || ops[0].ID != "get_api_v2_new_thing" || ops[0].Tag != "Other" {
		t.Errorf("got %+v, want one without a summary", ops)
	}
	s := object(must("name", text(3, 100)), may("n", whole(1, 20).times(2)), may("all", list(choice("a", "b"), 0, 5).distinct())).shape()
	models := openapi.Models{"M": {Name: "M", Base: "B"}, "B": {Name: "B", Members: []openapi.Member{{Name: "name", Shape: openapi.Shape{Kind: "string", Example: "x"}}}}}
	tightener := openapi.NewTightener(models)
	tightener.Tighten("M", s)
	b, err := json.Marshal(models)
	if err != nil {
		t.Fatal(err)
	}
	want := models.Flat("M")
	if len(want) != 3 || *want[2].Shape.Min != 3 || !want[2].Required || want[2].Shape.Example != "x" || want[1].Shape.Multiple != 2 || !want[0].Shape.Unique || len(models["B"].Members) != 1 {
		t.Errorf("tightened to %s", b)
	}
	// Another body with the same base enforces something else: both say so themselves.
	models["O"] = openapi.Model{Name: "O", Base: "B"}
	tightener.Tighten("O", object(may("name", text(9, 9))).shape())
	m, o, base := models.Flat("M")[2], models.Flat("O")[0], models["B"].Members[0]
	if !m.Required || *m.Shape.Min != 3 || o.Required || *o.Shape.Min != 9 || base.Required || base.Shape.Min != nil || base.Shape.Example != "x" {
		t.Errorf("got M %+v, O %+v, B %+v", m, o, base)
	}
}
