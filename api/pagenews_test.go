package api

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

func TestNewsOfTheOperator(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Documents = fstest.MapFS{
			"news/2026-11-20-first.md":  {Data: []byte("# First\r\n\r\nOne.")},
			"news/2026-11-21-second.md": {Data: []byte("# Second <b>\nimportance: High\ntags: a, b,\nmore: https://x.example, javascript:alert(1)\n\nTwo **bold** <i>.")},
			"news/draft.md":             {Data: []byte("# Not yet")},
		}
	})
	items, err := h.s.newsItems()
	want := []newsItem{
		{Date: "2026-11-21", Title: "Second <b>", Text: "Two **bold** <i>.", Importance: "High", Tags: []string{"a", "b"}, URLs: []string{"https://x.example", "javascript:alert(1)"}},
		{Date: "2026-11-20", Title: "First", Text: "One.", Importance: "Information", Tags: []string{}, URLs: []string{}},
	}
	if err != nil || !reflect.DeepEqual(items, want) {
		t.Errorf("got %+v, %v, want %+v", items, err, want)
	}
	page := h.do("GET", "/news", "", nil).wants(200, "")
	for _, s := range []string{"Second &lt;b&gt;", "<strong>bold</strong> &lt;i&gt;", `href="https://x.example"`} {
		if !strings.Contains(page.body, s) {
			t.Errorf("the page lacks %q: %s", s, page.body)
		}
	}
	if strings.Contains(page.body, "javascript:") || strings.Contains(page.body, "Not yet") {
		t.Errorf("the page has what it should not: %s", page.body)
	}
}
