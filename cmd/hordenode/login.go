package main

import (
	"errors"
	"fmt"
	"strings"

	"hordenode/node"
)

// parseLogin reads the value of --login. The secret itself is never in it: command lines and
// configuration files are read by others.
func parseLogin(s string, getenv func(string) string, read func(string) ([]byte, error)) (node.Login, error) {
	var l node.Login
	var file, env string
	known := map[string]*string{
		"kind": &l.Kind, "name": &l.Name, "title": &l.Title, "client-id": &l.ClientID, "issuer": &l.Issuer,
		"auth-url": &l.AuthURL, "token-url": &l.TokenURL, "user-url": &l.UserURL, "secret-file": &file, "secret-env": &env,
	}
	for part := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(part, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		into, ok := known[key]
		switch {
		case key == "secret":
			return l, errors.New("the secret may not be written here: give secret-file or secret-env")
		case !ok:
			return l, fmt.Errorf("there is no %q", key)
		case value == "" || *into != "":
			return l, fmt.Errorf("%s is empty or there twice", key)
		}
		*into = value
	}
	if l.Name == "" {
		l.Name = l.Kind
	}
	switch {
	case (file == "") == (env == ""):
		return l, errors.New("give either secret-file or secret-env")
	case file != "":
		b, err := read(file)
		if err != nil {
			return l, fmt.Errorf("read the secret: %w", err)
		}
		l.Secret = strings.TrimSpace(string(b))
	default:
		l.Secret = strings.TrimSpace(getenv(env))
	}
	if l.Secret == "" {
		return l, errors.New("the secret is empty")
	}
	return l, nil
}
