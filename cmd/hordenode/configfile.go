package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// A configFile resolves flags from YAML. Keys are flag names, with dashes or underscores;
// a value is a scalar or a list of scalars. A mapping is a section for the command of its
// name ("run", "user create") and wins over the top level.
//
//	log-level: warn
//	run:
//	  api: 0.0.0.0:7001
//	  p2p: [/ip4/0.0.0.0/tcp/4001, /ip4/0.0.0.0/udp/4001/quic-v1]
type configFile struct {
	flags    map[string]any            // string or []any of strings
	sections map[string]map[string]any // by command
}

// loadYAML is kong's loader for --config.
func loadYAML(r io.Reader) (kong.Resolver, error) {
	var doc map[string]yaml.Node
	if err := yaml.NewDecoder(r).Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("config file: %w", err)
	}
	c := &configFile{flags: map[string]any{}, sections: map[string]map[string]any{}}
	for key, n := range doc {
		if n.Kind != yaml.MappingNode {
			if err := put(c.flags, key, &n); err != nil {
				return nil, err
			}
			continue
		}
		var fields map[string]yaml.Node
		if err := n.Decode(&fields); err != nil {
			return nil, fmt.Errorf("config file: section %s: %w", key, err)
		}
		c.sections[key] = map[string]any{}
		for k, n := range fields {
			if err := put(c.sections[key], k, &n); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// put stores a value under its flag's name; null is as if it were not there.
func put(into map[string]any, key string, n *yaml.Node) error {
	name := strings.ReplaceAll(key, "_", "-")
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
	case n.Kind == yaml.ScalarNode:
		into[name] = n.Value
	case n.Kind == yaml.SequenceNode:
		values := make([]any, 0, len(n.Content))
		for _, e := range n.Content {
			if e.Kind != yaml.ScalarNode {
				return fmt.Errorf("config file: line %d: the list of %q has something else than values", e.Line, key)
			}
			values = append(values, e.Value)
		}
		into[name] = values
	default:
		return fmt.Errorf("config file: line %d: %q is neither a value nor a list", n.Line, key)
	}
	return nil
}

// Resolve returns the file's value, or nil where the environment has one: the file is
// asked last, so it must give way itself.
func (c *configFile) Resolve(_ *kong.Context, parent *kong.Path, f *kong.Flag) (any, error) {
	for _, env := range f.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	if n := parent.Node(); n != nil {
		if v, ok := c.sections[commandOf(n)][f.Name]; ok {
			return v, nil
		}
	}
	return c.flags[f.Name], nil
}

// Validate refuses what no command knows, so that a misspelt key is not passed over.
func (c *configFile) Validate(app *kong.Application) error {
	common := flagNames(app.Flags)
	all := slices.Clone(common)
	commands := map[string][]string{} // the flags of each command
	for _, leaf := range app.Leaves(true) {
		for n := leaf; n != nil && n.Type == kong.CommandNode; n = n.Parent {
			commands[commandOf(n)] = flagNames(n.Flags)
			all = append(all, flagNames(n.Flags)...)
		}
	}
	for key := range c.flags {
		if !slices.Contains(all, key) {
			return fmt.Errorf("config file: there is no flag called %q", key)
		}
	}
	for section, flags := range c.sections {
		own, ok := commands[section]
		if !ok {
			return fmt.Errorf("config file: %q is neither a flag nor a command", section)
		}
		for key := range flags {
			if !slices.Contains(own, key) && !slices.Contains(common, key) {
				return fmt.Errorf("config file: hordenode %s has no flag called %q", section, key)
			}
		}
	}
	return nil
}

func flagNames(flags []*kong.Flag) (names []string) {
	for _, f := range flags {
		if f.Name != "help" && f.Name != "config" {
			names = append(names, f.Name)
		}
	}
	return names
}
