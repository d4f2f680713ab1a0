package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestMain lets the test binary be the program, for the processes that commands start.
func TestMain(m *testing.M) {
	if os.Getenv("HORDENODE_TEST_BE_THE_PROGRAM") != "" {
		main()
		return
	}
	for _, e := range os.Environ() { // a developer's own settings must not decide
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "HORDE") {
			os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

// command runs the program in this process.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return commandIn(t.Context(), args...)
}

func commandIn(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, args, &out, &err)
	return code, out.String(), err.String()
}

// parse reads args into a cli without running anything.
func parse(t *testing.T, args ...string) (*cli, error) {
	t.Helper()
	c := &cli{}
	p, err := newParser(c, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Parse(args)
	return c, err
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := "api: file:1\np2p: [/file/1, /file/2]\nworker_ip_check: true\nlog-level: warn\n"
	for _, tt := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		api  string
		p2p  string
		log  string
	}{
		{"default", nil, nil, "", "127.0.0.1:7001", "", "info"},
		{"file", nil, nil, file, "file:1", "/file/1 /file/2", "warn"},
		{"environment over default", nil, map[string]string{"HORDENODE_API": "env:1", "HORDENODE_P2P": "/env/1,/env/2"}, "", "env:1", "/env/1 /env/2", "info"},
		{"environment over file", nil, map[string]string{"HORDENODE_API": "env:1", "HORDENODE_LOG_LEVEL": "debug"}, file, "env:1", "/file/1 /file/2", "debug"},
		{"flag over environment and file", []string{"--api", "flag:1", "--p2p", "/flag/1", "--p2p", "/flag/2"},
			map[string]string{"HORDENODE_API": "env:1", "HORDENODE_P2P": "/env/1"}, file, "flag:1", "/flag/1 /flag/2", "warn"},
		{"section over top level", nil, nil, file + "run:\n  api: section:1\n", "section:1", "/file/1 /file/2", "warn"},
		{"another command's section is not ours", nil, nil, file + "bench all:\n  keep: true\nmembers:\n  data: x\n", "file:1", "/file/1 /file/2", "warn"},
		{"null is as if it were not there", nil, nil, "api: ~\n", "127.0.0.1:7001", "", "info"},
		{"an empty file", nil, nil, " ", "127.0.0.1:7001", "", "info"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			args := append([]string{"run"}, tt.args...)
			if tt.file != "" {
				args = append(args, "--config", write(t, tt.file))
			}
			c, err := parse(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Run.API; got != tt.api {
				t.Errorf("api: got %q, want %q", got, tt.api)
			}
			if got := strings.Join(c.Run.P2P, " "); got != tt.p2p {
				t.Errorf("p2p: got %q, want %q", got, tt.p2p)
			}
			if c.LogLevel != tt.log {
				t.Errorf("log level: got %q, want %q", c.LogLevel, tt.log)
			}
			if got, want := c.Run.WorkerIPCheck, strings.Contains(tt.file, "worker_ip_check"); got != want {
				t.Errorf("worker-ip-check: got %v, want %v", got, want)
			}
		})
	}
}

func TestConfigFileByEnvironment(t *testing.T) {
	t.Setenv("HORDENODE_CONFIG", write(t, "name: oak"))
	c, err := parse(t, "run")
	if err != nil || c.Run.Name != "oak" {
		t.Errorf("got name %q (%v), want oak", c.Run.Name, err)
	}
}

func TestConfigFileMistakesAreNamed(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"unknown flag", "apy: x", `"apy"`},
		{"unknown command", "rum:\n  api: x", `"rum"`},
		{"a flag that the command does not have", "invite:\n  api: x", `"api"`},
		{"a list in a list", "p2p: [[a]]", "p2p"},
		{"a mapping in a section", "run:\n  api:\n    x: y", "api"},
		{"not YAML", "run: [", "config file"},
		{"a list as the document", "- a", "config file"},
		{"a bad value", "worker:\n  threads: many\n", "many"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, "worker", "--key", "k", "--simulate", "text", "--config", write(t, tt.file))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error that names %s", err, tt.want)
			}
		})
	}
	if _, err := parse(t, "run", "--config", "/does/not/exist"); err == nil {
		t.Error("a file that is not there: got no error")
	}
}

func TestEveryCommandHelps(t *testing.T) {
	c := &cli{}
	p, err := newParser(c, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	leaves := p.Model.Leaves(true)
	if len(leaves) < 15 {
		t.Fatalf("found %d commands, want at least 15", len(leaves))
	}
	for _, n := range append(leaves, p.Model.Node) {
		var args []string
		if n.Type == kong.CommandNode {
			args = strings.Fields(commandOf(n))
		}
		code, out, stderr := command(t, append(args, "--help")...)
		if code != 0 || stderr != "" || !strings.HasPrefix(out, "Usage: hordenode") {
			t.Errorf("%v --help: got code %d, stderr %q and\n%s", args, code, stderr, out)
		}
		for _, f := range n.Flags {
			if !f.Hidden && (f.Help == "" || !strings.Contains(out, "--"+f.Name)) {
				t.Errorf("%v --help says nothing about --%s", args, f.Name)
			}
			if f.Name != "help" && (len(f.Envs) != 1 || !strings.HasPrefix(f.Envs[0], "HORDENODE_")) {
				t.Errorf("%v --%s: got environment %v, want a HORDENODE_ variable", args, f.Name, f.Envs)
			}
		}
	}
}

func TestHelpSaysDefaultsAndExamples(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"", []string{"Examples:", "HORDENODE_", "hordenode demo", "bench"}},
		{"run --help", []string{"./hordenode-data", "127.0.0.1:7001", "/ip4/127.0.0.1/tcp/4001", "$HORDENODE_API", "Examples:"}},
		{"invite --help", []string{"24h", "$HORDENODE_TTL", "Example:"}},
		{"user create --help", []string{"--moderator", "--kudos", "Example:"}},
		{"worker --help", []string{"simulated", "Examples:", "hordenode simulated worker"}},
		{"bench --help", []string{"async", "bench all", "HORDE_TEST_RATELIMIT_DISABLED"}},
	} {
		_, out, _ := command(t, strings.Fields(tt.args)...)
		out = strings.Join(strings.Fields(out), " ") // as if the lines were not broken
		for _, w := range tt.want {
			if !strings.Contains(out, w) {
				t.Errorf("hordenode %s lacks %q:\n%s", tt.args, w, out)
			}
		}
	}
}

func TestFailuresAreOneLine(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"run --apy x", exitUsage, "--apy"},
		{"rum", exitUsage, "rum"},
		{"run --profile moon", exitUsage, "lan"},
		{"run --data " + dir + " --api nonsense", exitError, "HOST:PORT"},
		{"run --data " + dir + " --trusted-proxy everybody", exitError, "--trusted-proxy"},
		{"worker --key k", exitUsage, "--simulate"},
		{"worker --key k --simulate music", exitError, "music"},
		{"worker --key k --simulate text --threads 0", exitError, "threads"},
		{"status --data " + dir, exitError, "no node runs in"},
		{"status --data " + dir + "/none", exitError, "no data directory"},
		{"user create", exitUsage, "<name>"},
		{"--log-level loud run", exitUsage, "log-level"},
		{"bench async -c 0", exitError, "client"},
		{"bench all --nodes 9", exitError, "9 nodes"},
	} {
		code, out, stderr := command(t, strings.Fields(tt.args)...)
		if code != tt.code || out != "" {
			t.Errorf("%s: got code %d and output %q, want code %d and none", tt.args, code, out, tt.code)
		}
		if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "hordenode: ") || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: got %q, want one line with %q", tt.args, stderr, tt.want)
		}
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := command(t, "version")
	if code != 0 || !strings.HasPrefix(out, "hordenode "+version+" (go") {
		t.Errorf("got %d %q", code, out)
	}
}

func TestMemoryLimit(t *testing.T) {
	const meminfo = "MemTotal:       1000000 kB\nMemFree: 1 kB\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing known", nil, 0},
		{"machine only", map[string]string{"/proc/meminfo": meminfo}, 1_000_000 << 10 / 10 * 6},
		{"group without a limit", map[string]string{"/proc/meminfo": meminfo, "/sys/fs/cgroup/memory.max": "max\n"}, 1_000_000 << 10 / 10 * 6},
		{"group", map[string]string{"/proc/meminfo": meminfo, "/sys/fs/cgroup/memory.max": "268435456\n"}, 268435456 / 10 * 6},
		{"group, version 1, no limit", map[string]string{"/proc/meminfo": meminfo,
			"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 1_000_000 << 10 / 10 * 6},
	} {
		got := memoryLimit(func(path string) ([]byte, error) {
			if s, ok := tt.files[path]; ok {
				return []byte(s), nil
			}
			return nil, os.ErrNotExist
		})
		if got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}
