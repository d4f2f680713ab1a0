package api

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// docs/api.md lists every route; what it says is generated here, so that it stays true.
func TestAPITable(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	const file = "../docs/api.md"
	want := apiTable(h, lines(t, "testdata/reference-operations.txt"))
	if os.Getenv("HORDENODE_WRITE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	told, here := strings.Split(string(got), "\n"), strings.Split(want, "\n")
	for _, line := range here {
		if !slices.Contains(told, line) {
			t.Errorf("%s lacks: %s", file, line)
		}
	}
	for _, line := range told {
		if !slices.Contains(here, line) {
			t.Errorf("%s has, but should not: %s", file, line)
		}
	}
	if string(got) != want {
		t.Errorf("%s is not up to date: HORDENODE_WRITE_DOCS=1 go test ./api -run TestAPITable writes it", file)
	}
}

func apiTable(h *harness, reference []string) string {
	var b strings.Builder
	served := map[string]bool{}
	ops := h.s.documentation().Operations
	for _, op := range ops {
		served[op.Method+" "+op.Path] = true
	}
	there := 0
	for _, at := range reference {
		if served[at] {
			there++
		}
	}
	fmt.Fprintf(&b, "# All routes\n\nGenerated from the route table by `TestAPITable`; not for editing. Of the %d operations of the reference %d are served.\n", len(reference), there)
	tag := ""
	for _, op := range ops {
		if op.Tag != tag {
			tag = op.Tag
			fmt.Fprintf(&b, "\n## %s\n\n| method | path | what | origin | limits |\n| --- | --- | --- | --- | --- |\n", tag)
		}
		origin := "hordenode"
		if slices.Contains(reference, op.Method+" "+op.Path) {
			origin = "AI Horde"
		}
		limits := strings.Join(op.Limits, "; ")
		if limits == "" {
			limits = "none"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", op.Method, op.Path, op.Summary, origin, limits)
	}
	for _, at := range reference {
		if !served[at] {
			fmt.Fprintf(&b, "\nMissing: `%s`\n", at)
		}
	}
	return b.String()
}
