package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A view shows the demo: on a terminal the same few lines, drawn anew each second; else a
// plain line every five seconds.
type view struct {
	out   io.Writer
	live  bool
	plain bool // no colours
	lines int  // drawn last, to be drawn over
	told  bool // where to look, if not live
}

func newView(out io.Writer) *view {
	return &view{out: out, live: isTerminal(out), plain: os.Getenv("NO_COLOR") != ""}
}

// isTerminal tells whether w is a terminal that understands escapes.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

func (v *view) every() time.Duration {
	if v.live {
		return time.Second
	}
	return 5 * time.Second
}

func (v *view) show(s demoState) error {
	if !v.live {
		return v.tell(s)
	}
	lines := v.draw(s)
	var b strings.Builder
	if v.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.lines) // back to the first line
	}
	for _, l := range lines {
		b.WriteString(l + "\x1b[K\n") // and away with what is left of the old one
	}
	b.WriteString("\x1b[J")
	v.lines = len(lines)
	_, err := io.WriteString(v.out, b.String())
	return err
}

// tell writes a plain line, after those that say where to look.
func (v *view) tell(s demoState) error {
	var b strings.Builder
	if !v.told {
		v.told = true
		for i, name := range s.Names {
			fmt.Fprintf(&b, "%s: %s\n", name, s.URLs[i])
		}
	}
	fmt.Fprintf(&b, "%s: %s\n", s.Up, summary(s))
	_, err := io.WriteString(v.out, b.String())
	return err
}

// finish says what it all came to.
func (v *view) finish(s demoState) error {
	_, err := fmt.Fprintf(v.out, "After %s: %s\n", s.Up, summary(s))
	return err
}

func summary(s demoState) string {
	line := fmt.Sprintf("%d jobs done (%d text, %d image), %d crossed nodes, %.0f kudos moved, %d results held by clients",
		s.Jobs(), s.Text, s.Image, s.Crossed, s.Kudos, s.Got)
	if s.Leader != "" {
		line += ", leader " + s.Leader
	}
	if s.Trouble != "" {
		line += ", last trouble: " + s.Trouble
	}
	return line
}

// draw lays the figures out, a line each.
func (v *view) draw(s demoState) []string {
	lines := []string{
		v.bold("hordenode demo") + v.dim(fmt.Sprintf("  three nodes, one horde, %s   Ctrl-C ends it and leaves nothing", s.Up)),
		"",
		v.dim(fmt.Sprintf("  %-10s %-8s %14s %11s   %s", "node", "", "requests taken", "jobs done", "open in a browser")),
	}
	for i, name := range s.Names {
		role := ""
		if name == s.Leader {
			role = "leader"
		}
		lines = append(lines, fmt.Sprintf("  %-10s ", name)+v.colour(fmt.Sprintf("%-8s", role))+
			fmt.Sprintf(" %14d %11d   %s", s.Posted[i], s.Done[i], s.URLs[i]))
	}
	rate := 0.0
	if s.Up > 0 {
		rate = float64(s.Jobs()) / s.Up.Seconds()
	}
	share := 0
	if s.Jobs() > 0 {
		share = 100 * s.Crossed / s.Jobs()
	}
	lines = append(lines, "",
		fmt.Sprintf("  jobs done       %s  %.1f/s, %d text, %d image", v.bold(fmt.Sprintf("%8d", s.Jobs())), rate, s.Text, s.Image),
		fmt.Sprintf("  crossed nodes   %s  %d %%: taken in at one node, done at another", v.bold(fmt.Sprintf("%8d", s.Crossed)), share),
		fmt.Sprintf("  kudos moved     %s  from the clients to the workers' owner", v.bold(fmt.Sprintf("%8.0f", s.Kudos))),
		fmt.Sprintf("  results read    %s  each at another node than it was asked of; %d requests on the way", v.bold(fmt.Sprintf("%8d", s.Got)), s.Waiting),
	)
	if s.Trouble != "" {
		lines = append(lines, "", v.dim("  last trouble: "+s.Trouble))
	}
	return lines
}

func (v *view) bold(s string) string   { return v.escape("1", s) }
func (v *view) dim(s string) string    { return v.escape("2", s) }
func (v *view) colour(s string) string { return v.escape("33", s) }

func (v *view) escape(code, s string) string {
	if v.plain {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
