package api

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// News are files of the operator, one piece each, in the folder "news" of the documents:
//
//	news/2026-11-20-a-federated-horde.md
//
//	# A federated horde
//	importance: Information
//	tags: federation, nodes
//	more: https://example.org/post
//
//	Text in Markdown.
//
// The name begins with the date. The lines after the title are optional. Newest first; a file
// with another name is no news. Without any there is the one piece that every node has.
var newsName = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})(?:[-_ ].*)?\.md$`)

const maxNews = 100 // pieces

// newsItems are all pieces, newest first.
func (s *Server) newsItems() ([]newsItem, error) {
	builtin := []newsItem{{
		Date:       "2026-11-20",
		Text:       "This horde is run by a federation of communities. Requests, workers and kudos are the same at every node, so you can use whichever is near to you.",
		Importance: "Information",
		Tags:       []string{"federation"},
		Title:      "A federated horde",
		URLs:       []string{},
	}}
	if s.cfg.Documents == nil {
		return builtin, nil
	}
	files, err := fs.ReadDir(s.cfg.Documents, "news")
	if errors.Is(err, fs.ErrNotExist) {
		return builtin, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list news: %w", err)
	}
	var list []newsItem
	for _, f := range slices.Backward(files) { // by name, so by date
		m := newsName.FindStringSubmatch(f.Name())
		if m == nil || f.IsDir() || len(list) == maxNews {
			continue
		}
		text, err := readDocument(s.cfg.Documents, "news/"+f.Name())
		if err != nil {
			return nil, err
		}
		list = append(list, readNews(m[1], text))
	}
	if len(list) == 0 {
		return builtin, nil
	}
	return list, nil
}

func readDocument(from fs.FS, name string) (string, error) {
	f, err := from.Open(name)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", name, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxDocument))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return string(b), nil
}

// readNews reads one piece.
func readNews(date, text string) newsItem {
	n := newsItem{Date: date, Title: date, Importance: "Information", Tags: []string{}, URLs: []string{}}
	lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(text), "\r\n", "\n"), "\n")
	if title, ok := strings.CutPrefix(lines[0], "# "); ok {
		n.Title, lines = strings.TrimSpace(title), lines[1:]
	}
	for len(lines) > 0 {
		name, value, _ := strings.Cut(lines[0], ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "importance":
			n.Importance = value
		case "tags":
			n.Tags = listOf(value)
		case "more":
			n.URLs = listOf(value)
		default:
			n.Text = strings.TrimSpace(strings.Join(lines, "\n"))
			return n
		}
		lines = lines[1:]
	}
	return n
}

func listOf(text string) []string {
	list := []string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// A newsPiece is a piece on the page.
type newsPiece struct {
	Title, Date, Importance string
	Tags                    []string
	Text                    template.HTML
	More                    []string
}

// showNews serves GET /news.
func (s *Server) showNews(w http.ResponseWriter, _ *http.Request) error {
	items, err := s.newsItems()
	if err != nil {
		return err
	}
	var list []newsPiece
	for _, n := range items {
		p := newsPiece{Title: n.Title, Date: n.Date, Importance: n.Importance, Tags: n.Tags, Text: markdown(n.Text)}
		for _, u := range n.URLs {
			if strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://") {
				p.More = append(p.More, u)
			}
		}
		list = append(list, p)
	}
	return s.render(w, http.StatusOK, "news", page{Title: "News", Here: "/news", Body: list})
}
