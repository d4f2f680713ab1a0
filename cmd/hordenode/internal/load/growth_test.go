package load

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/cmd/hordenode/internal/hordetest"
)

func TestMixedModels(t *testing.T) {
	names := modelNames()
	count := map[string]int{}
	for i := range 3000 {
		count[mixed(names, i)]++
	}
	few, many := 0, 0
	for i, n := range names {
		if i > 0 && i < 37 {
			few += count[n]
		}
		if i >= 37 {
			many += count[n]
		}
	}
	if count[names[0]] != 1000 || few != 1000 || many != 1000 || len(count) != 500 {
		t.Errorf("one %d, few %d, many %d, in all %d models; want a third each of 500", count[names[0]], few, many, len(count))
	}
}

func TestGrowthAgainstAHorde(t *testing.T) {
	h := hordetest.New(t)
	target, err := Connect(t.Context(), Setup{URLs: []string{h.URL}, Users: 4, Workers: 4, Conns: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	use := func() (int64, time.Duration, error) { return 5 << 20, 0, nil }
	seen := 0
	g, err := target.Growth(t.Context(), []int{100, 200}, 10*time.Millisecond, use, func(GrowthPoint) { seen++ })
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * 4 * 3; len(g.Points) != want || seen != want {
		t.Fatalf("%d points, %d told, want %d", len(g.Points), seen, want)
	}
	for _, p := range g.Points {
		if p.Rate <= 0 || p.P50 <= 0 || p.RSS != 5<<20 {
			t.Errorf("point %+v, want figures", p)
		}
	}
	var table, plot bytes.Buffer
	if err := errors.Join(g.Markdown(&table), g.SVG(&plot)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "| 200 | 64 | nothing fits |") {
		t.Errorf("table lacks a row:\n%s", table.String())
	}
	for d := xml.NewDecoder(&plot); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
	if err := (Growth{}).SVG(io.Discard); err == nil {
		t.Error("an empty plot was drawn")
	}
}

func TestWatchAgainstAHorde(t *testing.T) {
	h := hordetest.New(t)
	target, err := Connect(t.Context(), Setup{URLs: []string{h.URL}, Users: 2, Workers: 2, Conns: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	r, err := target.Watch(t.Context(), LongPoll, false, 1, 100*time.Millisecond)
	if err != nil || r.Ops == 0 || r.P99 <= 0 || r.P99 > 20_000 {
		t.Errorf("Watch = %+v, %v", r, err)
	}
	if _, err := target.Watch(t.Context(), LongPoll, true, 1, time.Millisecond); err == nil {
		t.Error("waited at another node where there is one")
	}
	if _, err := target.Watch(t.Context(), Events, false, 1, 50*time.Millisecond); err == nil { // the fake has none
		t.Error("a stream of events was read where there is none")
	}
}

func TestPopForServesOtherModels(t *testing.T) {
	body := []byte(`{"name":"w","models":["` + model + `"],"amount":1}`)
	if got, want := string(popFor(body, "a", "b")), `{"name":"w","models":["a","b"],"amount":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !bytes.Contains(bodyFor("x"), []byte(`"models":["x"]`)) {
		t.Errorf("body: %.300s", bodyFor("x"))
	}
	if GrowthUsers(1_000_000)*perUser < 1_000_000 || slices.Max(GrowthModels) != mostModels {
		t.Error("there is no room for the largest queue")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dialCrowd(ctx, "127.0.0.1:1", []string{"x"}, 3); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("dialCrowd = %v", err)
	}
}
