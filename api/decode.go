package api

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"hordenode/internal/horde"
)

// A reader is a DTO that takes its fields from the arguments of a request.
type reader interface{ read(*args) }

// decode fills q from the arguments. The first argument that fails is the error.
func decode(r *http.Request, q reader) error {
	a := &args{r: r, body: bodyOf(r).root}
	q.read(a)
	return a.err
}

// args are the arguments of a request: headers, query and the JSON body. A getter returns
// its default when the argument is absent, null, or when one before it failed.
type args struct {
	r    *http.Request
	body members
	err  error
	up   *args // whose object this one is in; nil: the body itself
}

// fail records the first failing argument.
func (a *args) fail(name, text string) {
	if a.err == nil {
		a.err = invalid(name, text)
	}
	if a.up != nil {
		a.up.fail(name, text)
	}
}

// apikey is the required header.
func (a *args) apikey() horde.APIKey {
	key, ok := apikey(a.r)
	if !ok {
		a.fail("apikey", missingHeader("apikey"))
	}
	return key
}

func missingHeader(name string) string {
	return "The " + name + " header is needed. Missing required parameter in the HTTP headers"
}

// need makes the next argument of that name required: its key must be in the body.
func (a *args) need(name string) *args {
	if _, ok := a.body[name]; !ok {
		a.fail(name, "The field "+name+" is needed. Missing required parameter in the JSON body")
	}
	return a
}

// has tells whether the argument is there and not null.
func (a *args) has(name string) bool { return a.value(name) != nil }

func (a *args) value(name string) any {
	if a.err != nil {
		return nil
	}
	return a.body[name]
}

// str is a string of at most most characters, "" if absent. Numbers and booleans are taken
// as they are written.
func (a *args) str(name string, most int) string {
	if s := a.optStr(name, most); s != nil {
		return *s
	}
	return ""
}

// optStr is like str but tells absent from empty.
func (a *args) optStr(name string, most int) *string {
	var s string
	switch v := a.value(name).(type) {
	case nil:
		return nil
	case string:
		s = v
	case json.Number:
		s = v.String()
	case bool:
		s = strconv.FormatBool(v)
	default:
		a.fail(name, "must be a string")
		return nil
	}
	if utf8.RuneCountInString(s) > most {
		a.fail(name, fmt.Sprintf("may have %d characters at most", most))
		return nil
	}
	return &s
}

// flag is a boolean.
func (a *args) flag(name string, def bool) bool {
	if b := a.optFlag(name); b != nil {
		return *b
	}
	return def
}

// optFlag is like flag but tells absent from false. The words and numbers that people
// write for booleans are understood; unlike the reference, "false" is false.
func (a *args) optFlag(name string) *bool {
	var word string
	switch v := a.value(name).(type) {
	case nil:
		return nil
	case bool:
		return &v
	case json.Number:
		word = v.String()
	case string:
		word = v
	default:
		word = "a list or an object"
	}
	on, ok := parseFlag(word)
	if !ok {
		a.fail(name, "must be true or false")
		return nil
	}
	return &on
}

// parseFlag reads the words that people write for booleans.
func parseFlag(word string) (on, ok bool) {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "true", "1", "yes", "on":
		return true, true
	case "false", "0", "no", "off", "":
		return false, true
	}
	return false, false
}

// integer is a whole number; fractions are cut off.
func (a *args) integer(name string, def int64) int64 {
	if n := a.optInteger(name); n != nil {
		return *n
	}
	return def
}

// optInteger is like integer but tells absent from zero.
func (a *args) optInteger(name string) *int64 {
	f := a.optNumber(name)
	if f == nil {
		return nil
	}
	if n, ok := a.value(name).(json.Number); ok { // exact beyond 2^53
		if i, err := n.Int64(); err == nil {
			return &i
		}
	}
	if math.Abs(*f) >= 1<<63 {
		a.fail(name, "is too large")
		return nil
	}
	i := int64(*f)
	return &i
}

// number is a number.
func (a *args) number(name string, def float64) float64 {
	if f := a.optNumber(name); f != nil {
		return *f
	}
	return def
}

// optNumber is like number but tells absent from zero.
func (a *args) optNumber(name string) *float64 {
	var f float64
	var err error
	switch v := a.value(name).(type) {
	case nil:
		return nil
	case json.Number:
		f, err = v.Float64()
	case string:
		f, err = strconv.ParseFloat(strings.TrimSpace(v), 64)
	case bool:
		if v {
			f = 1
		}
	default:
		err = strconv.ErrSyntax
	}
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		a.fail(name, "must be a number")
		return nil
	}
	return &f
}

// strs is a list of at most most strings, nil if absent.
func (a *args) strs(name string, most int) []string {
	v := a.value(name)
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) > most {
		a.fail(name, fmt.Sprintf("may have %d entries at most", most))
		return nil
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			a.fail(name, "must be a list of strings")
			return nil
		}
		out = append(out, s)
	}
	return out
}

// integers is a list of whole numbers, nil if absent.
func (a *args) integers(name string) []int64 {
	list, ok := a.value(name).([]any)
	if !ok {
		return nil
	}
	out := make([]int64, 0, len(list))
	for _, e := range list {
		item := args{r: a.r, body: members{name: e}, err: a.err, up: a}
		out = append(out, item.integer(name, 0))
	}
	return out
}

// objects are the objects of a list, each as arguments of its own.
func (a *args) objects(name string) []*args {
	list, _ := a.value(name).([]any)
	var out []*args
	for _, e := range list {
		if o, ok := e.(map[string]any); ok {
			out = append(out, &args{r: a.r, body: o, err: a.err, up: a})
		}
	}
	return out
}

// within is an object in the body, nil if absent, as arguments of its own.
func (a *args) within(name string) *args {
	o, _ := a.value(name).(map[string]any)
	return &args{r: a.r, body: o, err: a.err, up: a}
}

// query is a parameter of the query string.
func (a *args) query(name, def string) string {
	if v := a.r.URL.Query(); v.Has(name) {
		return v.Get(name)
	}
	return def
}

// queryInt is a whole number in the query string.
func (a *args) queryInt(name string, def int) int {
	v := a.query(name, "")
	if v == "" {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		a.fail(name, "must be a whole number")
		return def
	}
	return n
}
