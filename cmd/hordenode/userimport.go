package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// userImportCmd tells the running node who supports the federation, however its operator
// knows.
type userImportCmd struct {
	dataFlag `embed:""`

	File    string `arg:"" help:"CSV file: user, kudos each month and, if wanted, the date until which. - for standard input."`
	Replace bool   `help:"Supporters that the file does not name get nothing any more."`
}

// patron is a line of the file, as the node is told.
type patron struct {
	User  string    `json:"user"`
	Kudos int64     `json:"kudos"`
	Until time.Time `json:"until,omitzero"`
}

// Help is shown by --help.
func (userImportCmd) Help() string {
	return `The file has a line for each account: its alias or number, whole kudos each month, and until when, if there is an end.
Lines that begin with # are left out, and so is a first line "user,kudos,until". 0 kudos end an entitlement.
Nothing is changed unless every line can be. It is paid with the next run, within an hour, and then each month.

  user,kudos,until
  ada#12,50000,2027-12-31
  17,10000

Example:
  hordenode user import patrons.csv --replace`
}

// Run imports the file.
func (c userImportCmd) Run(a *app) error {
	var in io.Reader = os.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	list, err := readPatrons(in)
	if err != nil {
		return err
	}
	var out struct{ Set, Ended int }
	err = newControl(c.Data).do(a.ctx, http.MethodPut, "/patrons", map[string]any{"patrons": list, "replace": c.Replace}, &out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%d set, %d ended\n", out.Set, out.Ended)
	return err
}

// readPatrons reads the file. A line that is wrong is named.
func readPatrons(in io.Reader) ([]patron, error) {
	r := csv.NewReader(in)
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = '#', -1, true
	list := []patron{}
	for first := true; ; first = false {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the file: %w", err)
		}
		line, _ := r.FieldPos(0)
		if first && strings.EqualFold(rec[0], "user") {
			continue
		}
		if len(rec) < 2 || len(rec) > 3 {
			return nil, fmt.Errorf("line %d: want user, kudos and perhaps a date", line)
		}
		p := patron{User: strings.TrimSpace(rec[0])}
		if p.Kudos, err = strconv.ParseInt(strings.TrimSpace(rec[1]), 10, 64); err != nil {
			return nil, fmt.Errorf("line %d: %q is no whole number of kudos", line, rec[1])
		}
		if len(rec) == 3 && strings.TrimSpace(rec[2]) != "" {
			if p.Until, err = time.Parse(time.DateOnly, strings.TrimSpace(rec[2])); err != nil {
				return nil, fmt.Errorf("line %d: %q is no date like 2027-12-31", line, rec[2])
			}
			p.Until = p.Until.AddDate(0, 0, 1) // the day itself counts
		}
		list = append(list, p)
	}
}
