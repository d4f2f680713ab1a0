package api

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// sparse encodes a struct without the members that are null or an empty object, in the
// order of its fields. Nested objects and empty arrays stay as they are. Some endpoints show
// a struct so and others in full, which tags alone cannot do.
func sparse(v any) (json.RawMessage, error) {
	var full bytes.Buffer
	enc := json.NewEncoder(&full)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode details: %w", err)
	}
	dec := json.NewDecoder(&full)
	if _, err := dec.Token(); err != nil { // the opening brace
		return nil, fmt.Errorf("encode details: %w", err)
	}
	out := []byte{'{'}
	for dec.More() {
		name, err := dec.Token()
		var member json.RawMessage
		if err == nil {
			err = dec.Decode(&member)
		}
		if err != nil {
			return nil, fmt.Errorf("encode details: %w", err)
		}
		if string(member) == "null" || string(member) == "{}" {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, "%q:", name)
		out = append(out, member...)
	}
	return append(out, '}'), nil
}
