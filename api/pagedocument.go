package api

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
)

// showDocument serves a page with a document of the operator, or ours.
func (s *Server) showDocument(name, title string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		text, err := s.documentText(name)
		if err != nil {
			return err
		}
		return s.render(w, http.StatusOK, "document", page{Title: title, Here: "/" + name, Body: markdown(text)})
	}
}

const maxDocument = 256 << 10 // bytes of an operator's document

// documentText is the Markdown of a document: what the operator wrote counts, read each time
// so that a change is seen at once.
func (s *Server) documentText(name string) (string, error) {
	if s.cfg.Documents == nil {
		return documents[name], nil
	}
	f, err := s.cfg.Documents.Open(name + ".md")
	if errors.Is(err, fs.ErrNotExist) {
		return documents[name], nil
	}
	if err != nil {
		return "", fmt.Errorf("open the document %s: %w", name, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxDocument))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("read the document %s: %w", name, err)
	}
	return string(b), nil
}

// markdown renders a document for a page.
func markdown(text string) template.HTML { return template.HTML(documentHTML(text)) }
