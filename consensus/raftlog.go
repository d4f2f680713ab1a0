package consensus

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/go-hclog"
)

// raftLog turns raft's log lines into slog records: the message is constant, raft's own text
// is the attribute "event". Lines that only say that a stream ended or a peer is away are
// Debug: the group reports an unreachable peer itself, once.
type raftLog struct {
	log  *slog.Logger
	args []any
}

var _ hclog.Logger = (*raftLog)(nil)

func newRaftLog(l *slog.Logger) *raftLog { return &raftLog{log: l} }

// levelOf is the level at which we show a line that raft writes at the given level.
func levelOf(level hclog.Level, msg string) slog.Level {
	switch msg {
	case "failed to decode incoming command", // a peer closed or reset a stream
		"failed to flush response",
		"failed to heartbeat to", // said once by Group.observe
		"failed to appendEntries to",
		"failed to pipeline appendEntries",
		"failed to start pipeline replication",
		"failed to make requestVote RPC",
		"failed to make RequestVote RPC",
		"failed to contact",
		"skipping application of old log":
		return slog.LevelDebug
	case "heartbeat timeout reached, starting election",
		"Election timeout reached, restarting election",
		"not part of stable configuration, aborting election",
		"no known peers, aborting election",
		"rejecting vote request since we have a leader",
		"rejecting pre-vote request since we have a leader",
		"previous log term mis-match",
		"failed to get previous log",
		"found temporary snapshot":
		return slog.LevelInfo
	}
	switch level {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelWarn
	default: // raft's Info is about each snapshot, vote and pipeline
		return slog.LevelDebug
	}
}

func (r *raftLog) Log(level hclog.Level, msg string, args ...any) {
	l, ctx := levelOf(level, msg), context.Background()
	if level == hclog.Off || !r.log.Enabled(ctx, l) {
		return
	}
	attrs := append([]any{"event", msg}, r.args...)
	for _, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			a = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		attrs = append(attrs, a)
	}
	r.log.Log(ctx, l, "raft", attrs...)
}

func (r *raftLog) Trace(msg string, args ...any) { r.Log(hclog.Trace, msg, args...) }
func (r *raftLog) Debug(msg string, args ...any) { r.Log(hclog.Debug, msg, args...) }
func (r *raftLog) Info(msg string, args ...any)  { r.Log(hclog.Info, msg, args...) }
func (r *raftLog) Warn(msg string, args ...any)  { r.Log(hclog.Warn, msg, args...) }
func (r *raftLog) Error(msg string, args ...any) { r.Log(hclog.Error, msg, args...) }

func (r *raftLog) shows(l slog.Level) bool { return r.log.Enabled(context.Background(), l) }
func (r *raftLog) IsTrace() bool           { return r.IsDebug() }
func (r *raftLog) IsDebug() bool           { return r.shows(slog.LevelDebug) }
func (r *raftLog) IsInfo() bool            { return r.shows(slog.LevelInfo) }
func (r *raftLog) IsWarn() bool            { return r.shows(slog.LevelWarn) }
func (r *raftLog) IsError() bool           { return r.shows(slog.LevelError) }

func (r *raftLog) ImpliedArgs() []any             { return r.args }
func (r *raftLog) Name() string                   { return "raft" }
func (r *raftLog) Named(string) hclog.Logger      { return r }
func (r *raftLog) ResetNamed(string) hclog.Logger { return r }
func (r *raftLog) SetLevel(hclog.Level)           {} // the slog handler decides
func (r *raftLog) GetLevel() hclog.Level          { return hclog.NoLevel }

func (r *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{log: r.log, args: append(append([]any(nil), r.args...), args...)}
}

func (r *raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(r.StandardWriter(nil), "", 0)
}

func (r *raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lineWriter{r} }

// lineWriter logs each write as one line.
type lineWriter struct{ r *raftLog }

func (w lineWriter) Write(p []byte) (int, error) {
	w.r.Info(string(p))
	return len(p), nil
}

// badgerLog does the same for Badger, whose Info lines are about its files.
type badgerLog struct{ log *slog.Logger }

var _ badger.Logger = badgerLog{}

func (b badgerLog) line(l slog.Level, f string, args []any) {
	if ctx := context.Background(); b.log.Enabled(ctx, l) {
		b.log.Log(ctx, l, "badger", "event", fmt.Sprintf(f, args...))
	}
}

func (b badgerLog) Errorf(f string, args ...any)   { b.line(slog.LevelError, f, args) }
func (b badgerLog) Warningf(f string, args ...any) { b.line(slog.LevelWarn, f, args) }
func (b badgerLog) Infof(f string, args ...any)    { b.line(slog.LevelDebug, f, args) }
func (b badgerLog) Debugf(f string, args ...any)   { b.line(slog.LevelDebug, f, args) }
