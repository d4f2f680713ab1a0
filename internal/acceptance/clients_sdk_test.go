//go:build clients

package acceptance

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Models that the SDK's own tests ask for.
const (
	sdkImageModels = "Deliberate,Stable Cascade 1.0"
	sdkTextModels  = "koboldcpp/LLaMA2-13B-Psyfighter2"
)

// An sdk is an installation of horde_sdk: the interpreter to run scripts with, and the folder
// of its source distribution, which has its tests.
type sdk struct{ python, source string }

// hordeSDK installs what testdata/pypi pins by hash into a virtual environment of its own. The
// source distribution is of the same release.
func hordeSDK(t *testing.T) sdk {
	t.Helper()
	dir := installed(t, "pypi", []string{"pypi/requirements.txt", "pypi/source.txt"}, func(dir string) {
		run(t, dir, nil, python(t), "-m", "venv", "venv")
		pip := filepath.Join(dir, "venv", "bin", "python")
		run(t, dir, nil, pip, "-m", "pip", "install", "-q", "--no-input", "--require-hashes", "-r", "requirements.txt")
		run(t, dir, nil, pip, "-m", "pip", "download", "-q", "--no-input", "--no-deps", "--no-binary", ":all:",
			"--no-build-isolation", "--require-hashes", "-r", "source.txt", "-d", "sdist")
		archives, err := filepath.Glob(filepath.Join(dir, "sdist", "*.tar.gz"))
		if err != nil || len(archives) != 1 {
			t.Fatalf("source distributions %v, %v, want one", archives, err)
		}
		run(t, dir, nil, pip, "-m", "tarfile", "-e", archives[0], "source")
	})
	sources, err := filepath.Glob(filepath.Join(dir, "source", "*"))
	if err != nil || len(sources) != 1 {
		t.Fatalf("source folders %v, %v, want one", sources, err)
	}
	return sdk{python: filepath.Join(dir, "venv", "bin", "python"), source: sources[0]}
}

// python finds an interpreter that the SDK runs on: 3.12 or later.
func python(t *testing.T) string {
	t.Helper()
	names := []string{"python3.13", "python3.12", "python3"}
	if home, err := os.UserHomeDir(); err == nil {
		for _, v := range []string{"3.13", "3.12"} {
			more, err := filepath.Glob(filepath.Join(home, ".pyenv", "versions", v+".*", "bin", "python3"))
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, more...)
		}
	}
	for _, n := range names {
		if exec.Command(n, "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))").Run() == nil {
			return n
		}
	}
	t.Skipf("none of %v is a Python of 3.12 or later with venv", names)
	return ""
}

// env is the environment of a script or test that uses the node or proxy at url.
func (sdk) env(url string, more ...string) []string {
	return append([]string{
		"AI_HORDE_URL=" + url + "/api/", "AI_HORDE_DEV_URL=" + url + "/api/",
		"TESTS_ONGOING=1", "AI_HORDE_TESTING=1", "HORDE_SDK_TESTING=1", // strict: no unknown fields
		"LOGFIRE_IGNORE_NO_CONFIG=1", "PYTHONDONTWRITEBYTECODE=1",
		"IMAGE_MODELS=" + sdkImageModels, "TEXT_MODELS=" + sdkTextModels,
	}, more...)
}

// script is the path of one in testdata/pypi.
func (sdk) script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", "pypi", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// delivered is what the SDK's scripts count.
type delivered struct {
	Image, Text, Alchemy, Uploads, Refused int
	Reward                                 float64
}

func counted(t *testing.T, out string) delivered {
	t.Helper()
	var d delivered
	if err := json.Unmarshal([]byte(lastLine(out)), &d); err != nil {
		t.Fatalf("%v: %s", err, tail(out, 40))
	}
	return d
}

// startWorker runs the SDK as a worker of all kinds at url and waits until the horde sees it.
func (s sdk) startWorker(t *testing.T, url string, owner account, name string) *background {
	t.Helper()
	b := inBackground(t, t.TempDir(), s.env(url, "WORKER_KEY="+owner.Key, "WORKER_NAME="+name), s.python, s.script(t, "worker.py"))
	waitWorkers(t, url, name, 3)
	return b
}

// waitWorkers waits until so many workers of the name are online at url.
func waitWorkers(t *testing.T, url, name string, want int) {
	t.Helper()
	p := process{t: t, name: url}
	p.eventually(time.Minute, "workers of "+name, func() error {
		var all []struct{ Name string }
		if _, err := call("GET", url+"/api/v2/workers", "", nil, &all); err != nil {
			return err
		}
		n := 0
		for _, w := range all {
			if strings.HasPrefix(w.Name, name+" ") {
				n++
			}
		}
		if n < want {
			return fmt.Errorf("%d workers, want %d", n, want)
		}
		return nil
	})
}

// TestSDKFlow has the SDK's simple client at one node and a worker made with the SDK at another:
// text, images with uploads, alchemy. Both count the same jobs.
func TestSDKFlow(t *testing.T) {
	t.Parallel()
	s := hordeSDK(t)
	nodes := clientNodes(t, 3)
	client := nodes[0].account("sdkclient", 50_000, false, false)
	owner := nodes[0].account("sdkowner", 500, true, false)
	everywhere(t, nodes, client, owner)

	worker := s.startWorker(t, nodes[1].url, owner, "sdk")
	const rounds = 2
	out := run(t, t.TempDir(), s.env(nodes[0].url, "CLIENT_KEY="+client.Key, fmt.Sprintf("ROUNDS=%d", rounds)),
		s.python, s.script(t, "client.py"))
	got := counted(t, out)
	if want := (delivered{Text: 2 * rounds, Image: 4 * rounds, Alchemy: 3 * rounds}); got != want {
		t.Errorf("the client got %+v, want %+v", got, want)
	}
	did := counted(t, worker.stop())
	t.Logf("worker: %+v", did)
	if did.Text != got.Text || did.Image != got.Image || did.Alchemy != got.Alchemy || did.Refused != 0 {
		t.Errorf("the worker did %+v, the client got %+v: want equal counts and nothing refused", did, got)
	}
	if want := 4*rounds + rounds; did.Uploads != want {
		t.Errorf("%d uploads, want %d: each image and each upscaled one", did.Uploads, want)
	}
	if k := sameKudos(nodes, client); k >= 50_000 {
		t.Errorf("the client has %v after paying, want less than 50000", k)
	}
	if k := sameKudos(nodes, owner); k <= 500 {
		t.Errorf("the worker's owner has %v after working, want more than 500", k)
	}
}

// TestSDKOwnTests runs the tests of the SDK's source distribution that talk to a server, in
// strict mode, and compares each result with testdata/pypi/expected.txt.
func TestSDKOwnTests(t *testing.T) {
	for name, n := range map[string]int{"one node": 1, "three nodes": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hordeSDK(t)
			nodes := clientNodes(t, n)
			client := nodes[0].account("sdktests", 1_000_000, true, false)
			owner := nodes[0].account("sdktestsowner", 500, true, false)
			everywhere(t, nodes, client, owner)
			url := startRotor(t, nodes)

			// One test is a worker itself and wants to be alone; the others need workers.
			results := s.pytest(t, url, client, "-m", "api_side_ci")
			worker := s.startWorker(t, url, owner, "sdk")
			finishOne(t, nodes, client)
			for test, r := range s.pytest(t, url, client, "-m", "not api_side_ci") {
				results[test] = r
			}
			did := counted(t, worker.stop())
			t.Logf("%d tests, worker: %+v", len(results), did)
			if did.Image == 0 || did.Text == 0 || did.Alchemy == 0 {
				t.Errorf("the worker did %+v, want jobs of each kind", did)
			}
			compareExpected(t, results, expectedResults(t, n))
		})
	}
}

// finishOne has an image of a known model made and waits until the statistics show it.
func finishOne(t *testing.T, nodes []*process, client account) {
	t.Helper()
	if _, err := call("POST", nodes[0].url+"/api/v2/generate/async", client.Key, map[string]any{
		"prompt": "a first image", "models": []string{"Deliberate"}, "params": map[string]any{"steps": 5, "width": 512, "height": 512},
	}, nil); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.eventually(2*time.Minute, "image statistics", func() error {
			var stats struct{ Month map[string]int }
			if _, err := call("GET", n.url+"/api/v2/stats/img/models", "", nil, &stats); err != nil {
				return err
			}
			if stats.Month["Deliberate"] == 0 {
				return fmt.Errorf("month is %v, want an image of Deliberate", stats.Month)
			}
			return nil
		})
	}
}

// A testResult is the outcome of a Python test: passed, skipped or failed, and why.
type testResult struct{ outcome, why string }

// pytest runs the SDK's own tests against url and returns their results by name.
func (s sdk) pytest(t *testing.T, url string, client account, args ...string) map[string]testResult {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.xml")
	work := t.TempDir() // the tests write beside themselves
	if err := os.CopyFS(work, os.DirFS(s.source)); err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=150", "--run-network-tests", "--junitxml=" + report,
		"tests/ai_horde_api",
	}, args...)
	// Status 1 means that tests failed, which the report tells better.
	out, runErr := tryRun(t, work, s.env(url, "AI_HORDE_DEV_APIKEY="+client.Key, "AIWORKER_CACHE_HOME="+t.TempDir()), s.python, args...)
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("no report: %v, %v\n%s", err, runErr, tail(out, 60))
	}
	var suites struct {
		Suite []struct {
			Case []struct {
				Class   string `xml:"classname,attr"`
				Name    string `xml:"name,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
				Error *struct {
					Message string `xml:"message,attr"`
				} `xml:"error"`
				Skipped *struct {
					Message string `xml:"message,attr"`
				} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &suites); err != nil {
		t.Fatal(err)
	}
	results := map[string]testResult{}
	for _, suite := range suites.Suite {
		for _, c := range suite.Case {
			r := testResult{outcome: "passed"}
			switch {
			case c.Failure != nil:
				r = testResult{"failed", c.Failure.Message}
			case c.Error != nil:
				r = testResult{"failed", c.Error.Message}
			case c.Skipped != nil:
				r = testResult{"skipped", c.Skipped.Message}
			}
			results[strings.TrimPrefix(c.Class, "tests.ai_horde_api.")+"."+c.Name] = r
		}
	}
	if len(results) == 0 {
		t.Fatalf("no test ran: %v\n%s", runErr, tail(out, 60))
	}
	return results
}
