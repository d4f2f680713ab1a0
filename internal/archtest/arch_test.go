package archtest

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Packages are named by their folder in the module: "node/jobs".

// uses says what packages of ours a package may import besides foundations. A key covers the
// packages below it unless they have a key of their own; "x/..." is x and all below it. What
// has no key is a part.
var uses = map[string][]string{
	"cmd":                {"cmd/...", "node"},
	"node":               everything, // the only one that knows all parts
	"node/nodetest":      everything,
	"api":                {"api/..."},
	"node/jobs":          {"node/jobs/match"},
	"node/jobs/exchange": {"node/jobs", "node/jobs/match"},
	"node/jobs/sim":      everything, // tests only
	"node/jobs/match":    {},
	"node/pricing":       {},
	"internal":           {},
}

var everything = []string{"api/...", "consensus/...", "ledger/...", "p2p/...", "node/..."}

// exactly are keys of uses that say nothing about the packages below: those are parts.
var exactly = []string{"node"}

// foundations may be imported by all but each other: pure, and below the parts.
var foundations = []string{"node/pricing", "internal/horde"}

// homes says where a library may be imported: a prefix of import paths, and packages with
// those below them. Tests are held to it too.
var homes = map[string][]string{
	"github.com/libp2p/":             {"p2p"},
	"github.com/multiformats/":       {"p2p"},
	"github.com/quic-go/":            {"p2p"},
	"github.com/hashicorp/raft":      {"consensus"},
	"github.com/dgraph-io/badger":    {"ledger", "consensus", "node/jobs"},
	"github.com/dgraph-io/ristretto": {"ledger", "consensus", "node/jobs"},
	"github.com/minio/":              {"node/blob"},
}

// stdOnly import nothing but the standard library.
var stdOnly = []string{"internal/horde", "internal/archtest"}

// pkg is what one folder holds.
type pkg struct {
	dir        string
	name       string
	documented bool
	imports    []imported
}

type imported struct {
	file string
	path string
	test bool // imported by a _test.go file only
}

func TestImportsPointOneWay(t *testing.T) {
	module, pkgs := load(t)
	for _, p := range pkgs {
		for _, i := range p.imports {
			if why := objection(module, p.dir, i.path, i.test); why != "" {
				t.Errorf("%s imports %s: %s", i.file, i.path, why)
			}
		}
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	_, pkgs := load(t)
	for _, p := range pkgs {
		if p.name != "" && !p.documented {
			t.Errorf("package %s has no package comment", p.dir)
		}
	}
}

// objection says why a package may not import a path, or nothing.
func objection(module, dir, importPath string, test bool) string {
	if ours, ok := strings.CutPrefix(importPath, module+"/"); ok {
		return ourObjection(dir, ours, test)
	}
	if !strings.Contains(strings.Split(importPath, "/")[0], ".") {
		return "" // std
	}
	if slices.Contains(stdOnly, dir) {
		return dir + " imports the standard library only"
	}
	for prefix, where := range homes {
		if strings.HasPrefix(importPath, prefix) && !slices.ContainsFunc(where, func(home string) bool { return within(dir, home) }) {
			return "it belongs in " + strings.Join(where, ", ") + " only"
		}
	}
	return ""
}

func ourObjection(dir, target string, test bool) string {
	switch {
	case dir == target: // package x_test
		return ""
	case slices.Contains(stdOnly, dir):
		return dir + " imports the standard library only"
	case helpsTests(target):
		if test || helpsTests(dir) || within(dir, "node/nodetest") {
			return ""
		}
		return "it is for tests"
	case helpsTests(dir) && within(dir, target): // x/xtest imports x
		return ""
	case slices.Contains(foundations, target) && !slices.Contains(foundations, dir):
		return ""
	case within(target, "internal") && target != "internal/archtest":
		return ""
	}
	for _, may := range usesOf(dir) {
		if below, all := strings.CutSuffix(may, "/..."); target == may || all && within(target, below) {
			return ""
		}
	}
	return "imports point one way: cmd, node, parts, foundations; parts do not import parts"
}

// usesOf finds the closest key of uses.
func usesOf(dir string) []string {
	if may, ok := uses[dir]; ok {
		return may
	}
	for up := path.Dir(dir); up != "."; up = path.Dir(up) {
		if may, ok := uses[up]; ok && !slices.Contains(exactly, up) {
			return may
		}
	}
	return nil
}

// within tells whether dir is root or below it.
func within(dir, root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") }

// helpsTests tells whether a package is a helper of tests, such as node/nodetest or
// node/blob/blobtest: named after the package that it is for.
func helpsTests(dir string) bool { return path.Base(dir) == path.Base(path.Dir(dir))+"test" }

// load reads the imports of all packages of the module.
func load(t *testing.T) (module string, pkgs []*pkg) {
	t.Helper()
	root := moduleRoot(t)
	byDir := map[string]*pkg{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (name == "testdata" || name == "vendor" || name[0] == '.' || name[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || name[0] == '.' || name[0] == '_' {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(rel))
		if byDir[dir] == nil {
			byDir[dir] = &pkg{dir: dir}
		}
		return byDir[dir].add(file, filepath.ToSlash(rel))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range byDir {
		pkgs = append(pkgs, p)
	}
	slices.SortFunc(pkgs, func(a, b *pkg) int { return cmp.Compare(a.dir, b.dir) })
	return moduleName(t, root), pkgs
}

func (p *pkg) add(file, rel string) error {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	test := strings.HasSuffix(rel, "_test.go")
	if !test {
		p.name = f.Name.Name
		p.documented = p.documented || documents(f)
	}
	for _, spec := range f.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		p.imports = append(p.imports, imported{file: rel, path: importPath, test: test})
	}
	return nil
}

// documents tells whether a file has the package comment in the usual form.
func documents(f *ast.File) bool {
	text := f.Doc.Text()
	if f.Name.Name == "main" {
		return strings.HasPrefix(text, "Command ") || strings.HasPrefix(text, "Package main ")
	}
	return strings.HasPrefix(text, "Package "+f.Name.Name+" ")
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = up
	}
}

func moduleName(t *testing.T, root string) string {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	t.Fatal("go.mod names no module")
	return ""
}

func TestObjection(t *testing.T) {
	const test = true
	for _, tt := range []struct {
		dir, path string
		test      bool
		ok        bool
	}{
		{"cmd/hordenode", "m/node", false, true},
		{"cmd/hordenode", "m/internal/horde", false, true},
		{"cmd/hordenode", "m/ledger", false, false},
		{"node", "m/p2p", false, true},
		{"node", "m/node/jobs/exchange", false, true},
		{"node", "m/cmd/hordenode", false, false},
		{"node", "m/node/nodetest", false, false},
		{"node", "m/node/nodetest", test, true},
		{"node/nodetest", "m/node", false, true},
		{"node/nodetest", "m/p2p", false, true},
		{"api", "m/api/web", false, true},
		{"api/openai", "m/api/web", false, true},
		{"api", "m/ledger", false, false},
		{"api", "m/ledger", test, false},
		{"api", "m/node", false, false},
		{"api", "m/node/nodetest", test, true},
		{"api", "m/node/pricing", false, true},
		{"ledger", "m/internal/horde", false, true},
		{"ledger", "m/internal/archtest", false, false},
		{"ledger", "m/p2p", false, false},
		{"ledger", "m/ledger", test, true},
		{"consensus", "m/ledger", test, false},
		{"p2p", "m/node/jobs", false, false},
		{"node/jobs", "m/node/jobs/match", false, true},
		{"node/jobs", "m/node/jobs/exchange", false, false},
		{"node/jobs", "m/node/pricing", false, true},
		{"node/jobs", "m/node", false, false},
		{"node/jobs/exchange", "m/node/jobs", false, true},
		{"node/jobs/match", "m/node/jobs", false, false},
		{"node/blob", "m/node/outbox", false, false},
		{"node/blob", "m/node/blob/blobtest", test, true},
		{"node/blob", "m/node/blob/blobtest", false, false},
		{"node/blob/blobtest", "m/node/blob", false, true},
		{"node/pricing", "m/internal/horde", false, true},
		{"node/pricing", "m/ledger", false, false},
		{"internal/horde", "m/node/pricing", false, false},
		{"internal/horde", "fmt", false, true},
		{"internal/horde", "github.com/fxamacker/cbor/v2", false, false},
		{"ledger", "github.com/fxamacker/cbor/v2", false, true},
		{"p2p", "github.com/libp2p/go-libp2p/core/peer", false, true},
		{"p2p", "github.com/multiformats/go-multiaddr", test, true},
		{"node", "github.com/libp2p/go-libp2p/core/peer", false, false},
		{"api", "github.com/multiformats/go-multiaddr", test, false},
		{"consensus", "github.com/hashicorp/raft", false, true},
		{"node", "github.com/hashicorp/raft", false, false},
		{"consensus", "github.com/dgraph-io/badger/v4", false, true},
		{"node/jobs", "github.com/dgraph-io/badger/v4", false, true},
		{"node/blob", "github.com/dgraph-io/badger/v4", false, false},
	} {
		why := objection("m", tt.dir, tt.path, tt.test)
		if (why == "") != tt.ok {
			t.Errorf("%s imports %s (in a test: %v): objection %q, want allowed = %v", tt.dir, tt.path, tt.test, why, tt.ok)
		}
	}
}
