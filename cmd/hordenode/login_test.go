package main

import (
	"os"
	"strings"
	"testing"

	"hordenode/node"
)

func TestParseLogin(t *testing.T) {
	env := map[string]string{"GOOGLE_SECRET": " s1 "}
	read := func(name string) ([]byte, error) {
		if name != "secret" {
			return nil, os.ErrNotExist
		}
		return []byte("s2\n"), nil
	}
	for _, tt := range []struct {
		in, fails string
		want      node.Login
	}{
		{"kind=google,client-id=a,secret-env=GOOGLE_SECRET", "", node.Login{Kind: "google", Name: "google", ClientID: "a", Secret: "s1"}},
		{"kind=oidc, name=club, title=The club, client-id=a, secret-file=secret, issuer=https://id.example/x", "",
			node.Login{Kind: "oidc", Name: "club", Title: "The club", ClientID: "a", Secret: "s2", Issuer: "https://id.example/x"}},
		{"kind=google,client-id=a,secret=s1", "may not be written", node.Login{}},
		{"kind=google,client-id=a", "either", node.Login{}},
		{"kind=google,client-id=a,secret-env=GOOGLE_SECRET,secret-file=secret", "either", node.Login{}},
		{"kind=google,client-id=a,secret-env=NOTHING", "empty", node.Login{}},
		{"kind=google,client-id=a,secret-file=missing", "read the secret", node.Login{}},
		{"kind=google,kind=github,client-id=a", "twice", node.Login{}},
		{"kind=google,colour=blue", "there is no", node.Login{}},
	} {
		got, err := parseLogin(tt.in, func(k string) string { return env[k] }, read)
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: got %v, want an error with %q", tt.in, err, tt.fails)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
}
