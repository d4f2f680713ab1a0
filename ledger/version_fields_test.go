package ledger

import (
	"strings"
	"testing"

	"hordenode/internal/horde"
)

// While a federation is at version 1, a program of version 2 takes from a command of old what
// version 1 knew of it and nothing else, be it that it came from a newer program: the answer,
// which is a part of the state, and all that the command writes are those of a program that
// does not know the new members.
func TestVersionOneKnowsNoNewMembers(t *testing.T) {
	yes, kinds, hash := true, uint8(1), strings.Repeat("ab", 32)
	for name, c := range map[string]struct{ newer, older []byte }{
		"modes": {
			encodeCommand(kindSetModes, setModes{Actor: 1, InviteOnly: &yes, InviteKinds: &kinds}),
			encodeCommand(kindSetModes, setModes{Actor: 1, InviteOnly: &yes}),
		},
		"modes, nothing else": {
			encodeCommand(kindSetModes, setModes{Actor: 1, InviteKinds: &kinds}),
			encodeCommand(kindSetModes, setModes{Actor: 1}),
		},
		"modes, not by an admin": {
			encodeCommand(kindSetModes, setModes{Actor: 0, InviteKinds: &kinds}),
			encodeCommand(kindSetModes, setModes{Actor: 0}),
		},
		"pins": {
			encodeCommand(kindConfigure, configure{Actor: 1, Config: Config{TrustThreshold: 7, ImageModels: hash}}),
			encodeCommand(kindConfigure, configure{Actor: 1, Config: Config{TrustThreshold: 7}}),
		},
		"shards": {
			encodeCommand(kindConfigure, configure{Actor: 1, Config: Config{TrustThreshold: 7, Shards: 16}}),
			encodeCommand(kindConfigure, configure{Actor: 1, Config: Config{TrustThreshold: 7}}),
		},
		"malformed pins": {
			encodeCommand(kindConfigure, configure{Actor: 1, Config: Config{TrustThreshold: 7, ImagePrices: "x"}}),
			encodeCommand(kindConfigure, configure{Actor: 1, Config: Config{TrustThreshold: 7}}),
		},
	} {
		var rows [2]map[string][]byte
		var answers [2]string
		for i, cmd := range [][]byte{c.newer, c.older} {
			w := older(t)
			data, err := w.do(w.ctx, cmd)
			answers[i] = string(data)
			if err != nil {
				answers[i] += err.Error()
			}
			rows[i] = w.m.stored()
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: answered %q, by a program of version 1 %q", name, answers[0], answers[1])
		}
		for _, prefix := range []byte{prefixModes, prefixMeta} {
			for key, want := range rows[1] {
				if key[0] == prefix && string(rows[0][key]) != string(want) {
					t.Errorf("%s: row %q is %x, of a program of version 1 %x", name, key, rows[0][key], want)
				}
			}
		}
	}

	w := older(t)
	_, err := w.SetModes(w.ctx, ModesChange{Actor: 1, InviteKinds: &kinds})
	wantRC(t, err, horde.RCUnavailable)
	wantRC(t, w.Configure(w.ctx, 1, Config{TextModels: hash}), horde.RCUnavailable)
}
