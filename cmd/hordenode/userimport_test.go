package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadPatrons(t *testing.T) {
	for _, tt := range []struct {
		name, in, fails string
		want            []patron
	}{
		{"empty", "", "", []patron{}},
		{"all kinds of lines", "user,kudos,until\n# who pays\nada#12, 50000, 2027-12-31\n17,0\n", "",
			[]patron{{"ada#12", 50000, time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)}, {"17", 0, time.Time{}}}},
		{"no kudos", "ada#12\n", "line 1", nil},
		{"a fraction", "x,1\nada#12,1.5\n", "line 2", nil},
		{"another date", "ada#12,1,31.12.2027\n", "line 1", nil},
		{"too much", "ada#12,1,2027-12-31,x\n", "line 1", nil},
	} {
		got, err := readPatrons(strings.NewReader(tt.in))
		switch {
		case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.fails)
		case tt.fails == "" && (err != nil || !slices.Equal(got, tt.want)):
			t.Errorf("%s: got %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}
