package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"hordenode/node"
)

func TestPolicyFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hordenode.yaml")
	if err := os.WriteFile(file, []byte("run:\n  region: cellar\n  serve-kinds: [text]\n  own_users_only: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		region string
		want   node.Policy
	}{
		{"none", []string{"run"}, "", node.Policy{}},
		{"all", []string{"run", "--region", "attic", "--accept-kinds", "image,text", "--serve-kinds", "text", "--no-nsfw",
			"--only-models", "m1", "--only-models", "m2", "--own-users-first", "--min-trust", "trusted", "--exclude-member", "elm"}, "attic",
			node.Policy{
				AcceptKinds: []string{"image", "text"}, ServeKinds: []string{"text"}, NoNSFW: true, OnlyModels: []string{"m1", "m2"},
				OwnUsers: node.OwnFirst, MinTrust: node.TrustTrusted, Exclude: []string{"elm"},
			}},
		{"a configuration file", []string{"run", "--config", file}, "cellar", node.Policy{ServeKinds: []string{"text"}, OwnUsers: node.OwnOnly}},
	} {
		c, err := parse(t, tt.args...)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		cfg, err := c.Run.config(&app{ctx: t.Context(), log: slog.New(slog.DiscardHandler)}, func(string) string { return "" })
		if err != nil || cfg.Region != tt.region || !reflect.DeepEqual(cfg.Policy, tt.want) {
			t.Errorf("%s: got region %q, policy %+v, %v; want %q, %+v", tt.name, cfg.Region, cfg.Policy, err, tt.region, tt.want)
		}
	}
	for _, args := range [][]string{
		{"run", "--own-users-first", "--own-users-only"},
		{"run", "--min-trust", "blind"},
	} {
		if _, err := parse(t, args...); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	c, err := parse(t, "run", "--accept-kinds", "music")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Run.config(&app{ctx: t.Context(), log: slog.New(slog.DiscardHandler)}, func(string) string { return "" }); err == nil {
		t.Error("a kind that does not exist: no error")
	}
}
