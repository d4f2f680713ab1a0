package main

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"hordenode/node"
)

func TestRunFlagsBecomeTheNodesConfig(t *testing.T) {
	c, err := parse(t, "run", "--data", "/d", "--api", "127.0.0.1:1", "--p2p", "/a", "--announce", "/b", "--name", "oak",
		"--join", "token", "--public-url", "https://oak.example", "--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "::1",
		"--image-models", "i1", "--image-models", "i2", "--text-models", "t", "--profile", "wan", "--admin-listen", "127.0.0.1:9", "--outbound-allow", "192.168.7.0/24")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a := &app{ctx: t.Context(), log: slog.New(slog.NewTextHandler(&log, nil))}
	got, err := c.Run.config(a, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	want := node.Config{
		Data: "/d", API: "127.0.0.1:1", P2P: []string{"/a"}, Announce: []string{"/b"}, Name: "oak", Join: "token",
		PublicURL: "https://oak.example", ImageModels: []string{"i1", "i2"}, TextModels: []string{"t"}, Profile: "wan", AdminListen: "127.0.0.1:9",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		OutboundAllow:  []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")},
	}
	if got.Data != want.Data || got.API != want.API || !slices.Equal(got.P2P, want.P2P) || !slices.Equal(got.Announce, want.Announce) ||
		got.Name != want.Name || got.Join != want.Join || got.PublicURL != want.PublicURL || !slices.Equal(got.ImageModels, want.ImageModels) ||
		!slices.Equal(got.TextModels, want.TextModels) || got.Profile != want.Profile || got.AdminListen != want.AdminListen ||
		!slices.Equal(got.TrustedProxies, want.TrustedProxies) || !slices.Equal(got.OutboundAllow, want.OutboundAllow) || got.TestAPIKeys || got.NoRateLimits {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if log.Len() > 0 {
		t.Errorf("got log %q, want none", log.String())
	}
}

func TestRunDefaultsAreTheNodes(t *testing.T) {
	c, err := parse(t, "run")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Run.config(&app{ctx: t.Context(), log: slog.New(slog.DiscardHandler)}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	want := node.DefaultConfig()
	if !slices.Equal(got.P2P, want.P2P) || got.API != want.API || got.Name != want.Name || got.Profile != want.Profile {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !strings.HasSuffix(got.Data, "/hordenode-data") {
		t.Errorf("data: got %q, want ./hordenode-data made absolute", got.Data)
	}
}

func TestTestSwitchesWarn(t *testing.T) {
	for _, tt := range []struct {
		variable, value string
		keys, limits    bool
	}{
		{"HORDE_TEST_APIKEYS", "1", true, false},
		{"HORDE_TEST_APIKEYS", "Yes", true, false},
		{"HORDE_TEST_APIKEYS", "on", true, false},
		{"HORDE_TEST_APIKEYS", "0", false, false},
		{"HORDE_TEST_APIKEYS", "", false, false},
		{"HORDE_TEST_RATELIMIT_DISABLED", "true", false, true},
		{"HORDE_TEST_RATELIMIT_DISABLED", "false", false, false},
	} {
		var log bytes.Buffer
		a := &app{ctx: t.Context(), log: slog.New(slog.NewTextHandler(&log, nil))}
		cmd := runCmd{Data: "d", API: "127.0.0.1:0", Profile: "lan"}
		got, err := cmd.config(a, func(name string) string {
			if name == tt.variable {
				return tt.value
			}
			return ""
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.TestAPIKeys != tt.keys || got.NoRateLimits != tt.limits {
			t.Errorf("%s=%s: got %v, %v, want %v, %v", tt.variable, tt.value, got.TestAPIKeys, got.NoRateLimits, tt.keys, tt.limits)
		}
		if got, want := strings.Count(log.String(), "level=WARN"), btoi(tt.keys)+btoi(tt.limits); got != want {
			t.Errorf("%s=%s: got %d warnings, want %d", tt.variable, tt.value, got, want)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
