package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"hordenode/cmd/hordenode/internal/hordetest"
	"hordenode/cmd/hordenode/internal/rest"
	"hordenode/cmd/hordenode/internal/simworker"
)

var someState = demoState{
	Names: []string{"aurora", "borealis"}, URLs: []string{"http://a", "http://b"}, Leader: "borealis", Up: 10 * time.Second,
	Posted: []int{4, 5}, Done: []int{6, 2}, Text: 5, Image: 3, Crossed: 2, Got: 7, Waiting: 1, Kudos: 123.4,
}

func TestViewDrawsOverItself(t *testing.T) {
	var b bytes.Buffer
	v := &view{out: &b, live: true, plain: true}
	if err := v.show(someState); err != nil {
		t.Fatal(err)
	}
	first := b.String()
	for _, want := range []string{"borealis   leader", "http://a", "0.8/s, 5 text, 3 image", "25 %", "123"} {
		if !strings.Contains(first, want) {
			t.Errorf("lacks %q:\n%s", want, first)
		}
	}
	lines := strings.Count(first, "\n")
	b.Reset()
	s := someState
	s.Trouble = "lost"
	if err := v.show(s); err != nil {
		t.Fatal(err)
	}
	if want := "\x1b[" + itoa(lines) + "A"; !strings.HasPrefix(b.String(), want) {
		t.Errorf("the second drawing begins with %q, want %q: as many lines up as were drawn", b.String()[:8], want)
	}
}

func itoa(n int) string {
	return strings.TrimSpace(strings.Join([]string{string(rune('0' + n/10)), string(rune('0' + n%10))}, ""))
}

func TestViewIsPlainElsewhere(t *testing.T) {
	var b bytes.Buffer
	v := newView(&b)
	if v.live || v.every() != 5*time.Second {
		t.Errorf("a buffer is no terminal")
	}
	if err := v.show(someState); err != nil {
		t.Fatal(err)
	}
	where := ""
	for i, name := range someState.Names {
		where += name + ": " + someState.URLs[i] + "\n"
	}
	line := "10s: 8 jobs done (5 text, 3 image), 2 crossed nodes, 123 kudos moved, 7 results held by clients, leader borealis\n"
	if b.String() != where+line {
		t.Errorf("got %q, want %q", b.String(), where+line)
	}
	if err := v.show(someState); err != nil {
		t.Fatal(err)
	}
	if b.String() != where+line+line {
		t.Errorf("the second time: got %q, want the line alone after it", b.String())
	}
}

func TestCrossingIsCounted(t *testing.T) {
	d := &demo{homes: map[string]int{}, posted: make([]int, 2), done: make([]int, 2)}
	d.homes[tag("aabbccdd-eeff-8000-8000-000000000001")] = 1
	d.delivered(1, simworker.Delivery{Kind: rest.Text, Job: "aabbccdd-eeff-8000-8000-000000000002", Reward: 1})
	d.delivered(0, simworker.Delivery{Kind: rest.Image, Job: "aabbccdd-eeff-8000-8000-000000000003", Reward: 2})
	d.delivered(0, simworker.Delivery{Kind: rest.Image, Job: "00000000-0000-8000-8000-000000000003", Reward: 2}) // home not known
	s := d.snapshot(time.Now(), "")
	if s.Crossed != 1 || s.Text != 1 || s.Image != 2 || s.Kudos != 5 || s.Done[0] != 2 {
		t.Errorf("got %+v, want one of three crossed", s)
	}
}

func TestDemoClientsAndWorkersMeet(t *testing.T) {
	h := hordetest.New(t)
	d := &demo{names: []string{"a"}, urls: []string{h.URL}, homes: map[string]int{}, posted: make([]int, 1), done: make([]int, 1),
		started: time.Now(), http: http.DefaultClient, log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 4)
	for _, k := range []rest.Kind{rest.Text, rest.Image} {
		w, err := d.worker(0, k, "key", 0)
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- w.Run(ctx) }()
		go func() { d.client(ctx, 0, k, "key"); done <- nil }()
	}
	for s := (demoState{}); s.Text == 0 || s.Image == 0 || s.Posted[0] < 3; s = d.snapshot(time.Now(), "") {
		if err := simworker.Sleep(ctx, 5*time.Millisecond); err != nil {
			t.Fatalf("clients and workers did not meet: %+v", s)
		}
	}
	cancel()
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if s := d.snapshot(time.Now(), ""); s.Trouble != "" || s.Waiting != 0 {
		t.Errorf("got %+v, want no trouble and nothing waiting", s)
	}
}
