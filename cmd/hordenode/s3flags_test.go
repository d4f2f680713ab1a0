package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestS3Flags(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("id\ns3cr3t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(string) string { return "" }
	env := func(name string) string {
		return map[string]string{"AWS_ACCESS_KEY_ID": "env", "AWS_SECRET_ACCESS_KEY": "s3cr3t"}[name]
	}
	for _, tt := range []struct {
		name   string
		flags  s3Flags
		getenv func(string) string
		access string // empty: no store
		err    string
	}{
		{"none", s3Flags{}, env, "", ""},
		{"keys of a file", s3Flags{S3Endpoint: "http://x", S3Bucket: "b", S3Keys: keys}, env, "id", ""},
		{"keys of the environment", s3Flags{S3Endpoint: "http://x", S3Bucket: "b"}, env, "env", ""},
		{"no keys", s3Flags{S3Endpoint: "http://x", S3Bucket: "b"}, none, "", "--s3-keys"},
		{"no file", s3Flags{S3Endpoint: "http://x", S3Bucket: "b", S3Keys: keys + "x"}, env, "", "--s3-keys"},
		{"no bucket", s3Flags{S3Endpoint: "http://x"}, env, "", "--s3-bucket"},
		{"no endpoint", s3Flags{S3Bucket: "b"}, env, "", "--s3-endpoint"},
	} {
		cfg, err := tt.flags.config(tt.getenv)
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s: %v, want an error about %s", tt.name, err, tt.err)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case (cfg == nil) != (tt.access == "") || cfg != nil && cfg.Keys.Access != tt.access:
			t.Errorf("%s: %+v, want the store of %q", tt.name, cfg, tt.access)
		}
		if cfg != nil && strings.Contains(fmt.Sprintf("%+v", *cfg), "s3cr3t") {
			t.Errorf("%s: the secret is shown", tt.name)
		}
	}
}
