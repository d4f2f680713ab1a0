package ledger

import (
	"strings"
	"testing"

	"hordenode/internal/horde"
)

// A federation names the content that its nodes use by hash, and by nothing else.
func TestPinContent(t *testing.T) {
	w := newWorld(t)
	hash := strings.Repeat("0af", 21) + "9"
	for _, bad := range []string{"0af", hash + "0", strings.ToUpper(hash), hash[:63] + "g", "../" + hash[3:]} {
		for _, cfg := range []Config{{ImageModels: bad}, {TextModels: bad}, {ImagePrices: bad}} {
			wantRC(t, w.Configure(w.ctx, 1, cfg), horde.RCBadRequest)
		}
	}
	cfg := Config{TrustThreshold: 5, ImageModels: hash, TextModels: hash, ImagePrices: hash}
	wantRC(t, w.Configure(w.ctx, w.person("alice", 0, horde.RoleModerator), cfg), horde.RCNotAdmin)
	wantRC(t, w.Configure(w.ctx, 1, cfg), "")
	if got := w.Config(); got != cfg {
		t.Errorf("Config = %+v, want %+v", got, cfg)
	}
	wantRC(t, w.Configure(w.ctx, 1, Config{}), "")
	if got := w.Config(); got.pins() {
		t.Errorf("Config = %+v, want no pins", got)
	}
}
