package api

import (
	"html"
	"net/url"
	"strings"
)

// documentHTML renders the Markdown that documents of an operator are written in:
//
//	# to ####          headings
//	- or * or 1.       lists, of one level
//	> quotes, and paragraphs; lines that follow each other belong together
//	**bold** *emphasis* `code` [text](address)
//
// All else is text. Markup in the document is shown, not obeyed; images and addresses other
// than of http, https, mailto and this node are left as they were written.
func documentHTML(markdown string) string {
	var b strings.Builder
	var para []string
	open := "" // the list that is open: ul, ol or blockquote
	flush := func() {
		if len(para) > 0 {
			b.WriteString("<p>" + inline(strings.Join(para, " ")) + "</p>\n")
			para = para[:0]
		}
	}
	switchTo := func(tag string) {
		if open == tag {
			return
		}
		if open != "" {
			b.WriteString("</" + open + ">\n")
		}
		if tag != "" {
			b.WriteString("<" + tag + ">\n")
		}
		open = tag
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(markdown, "\r\n", "\n"), "\n") {
		line = strings.TrimSpace(line)
		tag, text := blockOf(line)
		if tag != "" || line == "" {
			flush()
		}
		switch tag {
		case "h1", "h2", "h3", "h4":
			switchTo("")
			b.WriteString("<" + tag + ">" + inline(text) + "</" + tag + ">\n")
		case "ul", "ol":
			switchTo(tag)
			b.WriteString("<li>" + inline(text) + "</li>\n")
		case "blockquote":
			switchTo(tag)
			b.WriteString("<p>" + inline(text) + "</p>\n")
		default:
			if line != "" {
				switchTo("")
				para = append(para, line)
			}
		}
	}
	flush()
	switchTo("")
	return b.String()
}

// blockOf tells what a line begins, "" for a line of a paragraph.
func blockOf(line string) (tag, text string) {
	for i, mark := range []string{"# ", "## ", "### ", "#### "} {
		if rest, ok := strings.CutPrefix(line, mark); ok {
			return "h" + string(rune('1'+i)), rest
		}
	}
	for _, mark := range []string{"- ", "* "} {
		if rest, ok := strings.CutPrefix(line, mark); ok {
			return "ul", rest
		}
	}
	if rest, ok := strings.CutPrefix(line, "> "); ok {
		return "blockquote", rest
	}
	if n, rest, ok := strings.Cut(line, ". "); ok && len(n) < 4 && isDigits(n) {
		return "ol", rest
	}
	return "", line
}

// inline renders what may be within a line.
func inline(s string) string {
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "*`[!")
		if i < 0 {
			break
		}
		b.WriteString(html.EscapeString(s[:i]))
		s = s[i:]
		out, rest, ok := span(s)
		if !ok {
			out, rest = html.EscapeString(s[:1]), s[1:]
			if strings.HasPrefix(s, "![") { // an image stays as it was written
				out, rest = "![", s[2:]
			}
		}
		b.WriteString(out)
		s = rest
	}
	b.WriteString(html.EscapeString(s))
	return b.String()
}

// span renders what s begins with, if that is bold, emphasis, code or a link.
func span(s string) (out, rest string, ok bool) {
	for _, m := range []struct{ mark, tag string }{{"**", "strong"}, {"*", "em"}, {"`", "code"}} {
		body, found := strings.CutPrefix(s, m.mark)
		if !found {
			continue
		}
		text, rest, closed := strings.Cut(body, m.mark)
		if !closed || text == "" || text != strings.TrimSpace(text) {
			return "", "", false
		}
		if m.tag == "em" || m.tag == "strong" {
			text = inlineLeaf(text)
		} else {
			text = html.EscapeString(text)
		}
		return "<" + m.tag + ">" + text + "</" + m.tag + ">", rest, true
	}
	if !strings.HasPrefix(s, "[") {
		return "", "", false
	}
	text, after, ok := strings.Cut(s[1:], "](")
	target, rest, closed := strings.Cut(after, ")")
	if !ok || !closed || strings.ContainsAny(text, "[]") || !isHarmlessLink(target) {
		return "", "", false
	}
	return `<a href="` + html.EscapeString(target) + `" rel="noopener noreferrer nofollow">` + html.EscapeString(text) + "</a>", rest, true
}

// inlineLeaf renders links within bold text and nothing else, so that nesting ends there.
func inlineLeaf(s string) string {
	before, at, found := strings.Cut(s, "[")
	if !found {
		return html.EscapeString(s)
	}
	out, rest, ok := span("[" + at)
	if !ok {
		return html.EscapeString(s)
	}
	return html.EscapeString(before) + out + html.EscapeString(rest)
}

// isHarmlessLink tells addresses that a reader may be led to.
func isHarmlessLink(target string) bool {
	u, err := url.Parse(target)
	if err != nil || strings.ContainsAny(target, "\\\"'<> \t\r\n\x00") {
		return false
	}
	switch u.Scheme {
	case "http", "https":
		return u.Host != ""
	case "mailto":
		return true
	}
	return u.Scheme == "" && u.Host == "" && (strings.HasPrefix(target, "/") || strings.HasPrefix(target, "#"))
}
