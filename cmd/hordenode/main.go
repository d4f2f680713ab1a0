// Command hordenode runs a node of a federation that serves the AI Horde REST API, and all
// that goes with it: the operator's commands, simulated workers, a demo, a load generator.
//
//	flags > environment > --config file > defaults ──► one command's struct ──► its Run
//
// A file per command. What a command does beyond reading its flags is in package node or in
// internal/ below this folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1 // the command failed
	exitUsage = 2 // the command line was wrong
)

func main() {
	// The first signal asks to stop; taking the handler away lets the second one kill.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	limitMemory()
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// An app is what every command gets.
type app struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
	log    *slog.Logger
	level  slog.Level
}

// run parses args, runs the command and returns the exit code. An error is one line on
// stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			exit, ok := r.(exited)
			if !ok {
				panic(r)
			}
			code = int(exit)
		}
	}()
	var c cli
	parser, err := newParser(&c, stdout, stderr)
	if err != nil {
		return fail(stderr, exitError, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		hint := ""
		var parse *kong.ParseError
		if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
			hint = " (see hordenode " + commandOf(parse.Context.Selected()) + " --help)"
		}
		return fail(stderr, exitUsage, fmt.Errorf("%w%s", err, hint))
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return fail(stderr, exitUsage, err)
	}
	a := &app{ctx: ctx, stdout: stdout, stderr: stderr, level: level}
	a.log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	if err := cmd.Run(a); err != nil {
		return fail(stderr, exitError, err)
	}
	return exitOK
}

// fail writes err as one line and returns code.
func fail(stderr io.Writer, code int, err error) int {
	line := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	_, _ = fmt.Fprintln(stderr, "hordenode: "+line) // there is nowhere left to complain
	return code
}

// exited is how kong's --help leaves the parser.
type exited int

// commandOf is a command with its parents, without the program: "user create".
func commandOf(n *kong.Node) string {
	name := n.Name
	for p := n.Parent; p != nil && p.Type == kong.CommandNode; p = p.Parent {
		name = p.Name + " " + name
	}
	return name
}
