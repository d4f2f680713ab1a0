package p2p

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestQuieter(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(quieter{slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelInfo})}).With("lib", "x")
	log.Info("stopping")
	log.Warn("trouble")
	if got := b.String(); strings.Contains(got, "stopping") || !strings.Contains(got, "level=WARN msg=trouble lib=x") {
		t.Errorf("logged %q, want the warning alone", got)
	}
}
