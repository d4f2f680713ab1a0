package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// A table aligns columns for a terminal.
type table struct{ w *tabwriter.Writer }

// newTable begins a table, with a head if there are any titles.
func newTable(w io.Writer, titles ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(titles) > 0 {
		t.row(titles...)
	}
	return t
}

// row adds a row. Errors of the writer are kept and come out of flush.
func (t *table) row(cells ...string) {
	_, _ = fmt.Fprintln(t.w, strings.Join(cells, "\t")) // written to memory until flush
}

func (t *table) flush() error { return t.w.Flush() }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
