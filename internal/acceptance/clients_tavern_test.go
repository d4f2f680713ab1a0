//go:build clients

package acceptance

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A tavern is a running SillyTavern, spoken to as its page in the browser does: with a session
// cookie and a CSRF token.
type tavern struct {
	t     *testing.T
	url   string
	token string
	http  *http.Client
}

// startTavern runs the unmodified package in a mount namespace whose hosts file and whose
// certificate authority lead to the given horde.
func startTavern(t *testing.T, horde http.Handler) *tavern {
	t.Helper()
	packages := npmPackages(t, "sillytavern")
	ground := redirect(t, horde)
	data := t.TempDir()
	port := freePort(t)
	inBackground(t, filepath.Join(packages, "node_modules", "sillytavern"),
		[]string{"NODE_EXTRA_CA_CERTS=" + ground.ca, "NODE_ENV=production"},
		"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, ground.hosts,
		"node", "server.js", "--port", fmt.Sprint(port), "--dataRoot", data, "--configPath", filepath.Join(data, "config.yaml"),
		"--listen", "false", "--browserLaunchEnabled", "false", "--heartbeatInterval", "0")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &tavern{
		t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port),
		http: &http.Client{Jar: jar, Timeout: 3 * time.Minute},
	}
	// It compiles its page when it starts for the first time.
	waiting := process{t: t, name: "sillytavern"}
	waiting.eventually(3*time.Minute, "CSRF token", func() error {
		res, err := s.http.Get(s.url + "/csrf-token")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		var a struct{ Token string }
		if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
			return fmt.Errorf("%s: %w", res.Status, err)
		}
		if a.Token == "" {
			return errors.New("no token")
		}
		s.token = a.Token
		return nil
	})
	return s
}

// post calls an address of the server as its page does and returns status and answer.
func (s *tavern) post(ctx context.Context, path string, body any) (int, []byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-CSRF-Token", s.token)
	res, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// get is post for calls that must answer 200; answer is decoded into into, if given.
func (s *tavern) get(path string, body, into any) []byte {
	s.t.Helper()
	status, b, err := s.post(s.t.Context(), path, body)
	if err != nil || status != http.StatusOK {
		s.t.Fatalf("%s: %d, %v: %.300s", path, status, err, b)
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			s.t.Fatalf("%s: %v: %.300s", path, err, b)
		}
	}
	return b
}

// signIn stores an account's key where the server looks for it.
func (s *tavern) signIn(a account) {
	s.t.Helper()
	s.get("/api/secrets/write", map[string]any{"key": "api_key_horde", "value": a.Key, "label": "acceptance"}, nil)
}

// A taskStatus is what the page reads of a text request.
type taskStatus struct {
	Done, Faulted bool
	IsPossible    *bool `json:"is_possible"`
	Waiting       int
	Generations   []struct {
		Text       string
		Model      string
		WorkerName string `json:"worker_name"`
	}
}

// askText posts a text request and returns its id.
func (s *tavern) askText(prompt, model string) string {
	s.t.Helper()
	var asked struct {
		ID    string
		Error any
	}
	s.get("/api/horde/generate-text", map[string]any{
		"prompt": prompt,
		"params": map[string]any{
			"n": 1, "frmtadsnsp": false, "frmtrmblln": false, "frmtrmspch": false, "frmttriminc": false,
			"max_length": 80, "max_context_length": 1024, "rep_pen": 1.1, "temperature": 0.7, "top_p": 0.9, "top_k": 40,
			"stop_sequence": []string{"\nYou:"},
		},
		"trusted_workers": false,
		"models":          []string{model},
	}, &asked)
	if asked.ID == "" || asked.Error != nil {
		s.t.Fatalf("generate-text: %+v, want an id", asked)
	}
	return asked.ID
}

// text asks for a text and polls as the page does until there is one.
func (s *tavern) text(prompt, model string) taskStatus {
	s.t.Helper()
	id := s.askText(prompt, model)
	var got taskStatus
	waiting := process{t: s.t, name: "sillytavern"}
	waiting.eventually(2*time.Minute, "text "+id, func() error {
		got = taskStatus{}
		s.get("/api/horde/task-status", map[string]any{"taskId": id}, &got)
		// Here its page gives up.
		if got.Faulted || got.IsPossible != nil && !*got.IsPossible {
			s.t.Fatalf("task-status: %+v, want it possible and not faulted", got)
		}
		if !got.Done || len(got.Generations) == 0 {
			return errors.New("not done")
		}
		return nil
	})
	return got
}

// imageRequest is what its page sends for a picture.
func imageRequest(model string) map[string]any {
	return map[string]any{
		"prompt": "a horde of robots", "negative_prompt": "blurry", "sampler": "k_euler_a", "steps": 20, "scale": 7,
		"width": 512, "height": 512, "model": model, "nsfw": false, "restore_faces": false, "enable_hr": false,
		"sanitize": true, "clip_skip": 1, "seed": 42,
	}
}

// TestSillyTavern drives SillyTavern's server, unmodified, with its requests for the AI Horde led to
// three nodes by turns while simulated workers serve at one: texts, images, captions, lists,
// the account, and cancelling.
func TestSillyTavern(t *testing.T) {
	t.Parallel()
	nodes := clientNodes(t, 3)
	client := nodes[0].account("tavernclient", 50_000, false, false)
	owner := nodes[0].account("tavernowner", 500, true, false)
	everywhere(t, nodes, client, owner)
	inBackground(t, t.TempDir(), nil, binary, "worker", "--url", nodes[2].url, "--key", owner.Key,
		"--simulate", "text,image,alchemy", "--name", "simulated", "--speed", "20")
	for _, n := range nodes {
		waitWorkers(t, n.url, "simulated", 3)
	}
	s := startTavern(t, newRotor(nodes))

	// The account.
	var info struct {
		User      struct{ Username string }
		SharedKey any
		Anonymous bool
	}
	s.get("/api/horde/user-info", map[string]any{}, &info)
	if !info.Anonymous {
		t.Errorf("user-info without a key: %+v, want anonymous", info)
	}
	s.signIn(client)
	s.get("/api/horde/user-info", map[string]any{}, &info)
	if info.User.Username != client.Name || info.Anonymous || info.SharedKey != nil {
		t.Errorf("user-info: %+v, want the user %s and no shared key", info, client.Name)
	}

	// Lists.
	var status struct{ OK bool }
	if s.get("/api/horde/status", map[string]any{}, &status); !status.OK {
		t.Error("status: not ok")
	}
	var workers []struct {
		Name          string
		Models        []string
		MaxLength     int  `json:"max_length"`
		MaxContext    int  `json:"max_context_length"`
		Trusted       bool `json:"trusted"`
		MaintenanceOn bool `json:"maintenance_mode"`
	}
	s.get("/api/horde/text-workers", map[string]any{"force": true}, &workers)
	if len(workers) != 1 || len(workers[0].Models) != 1 || workers[0].MaxLength == 0 || workers[0].MaxContext == 0 || !workers[0].Trusted {
		t.Fatalf("text-workers: %+v, want a trusted one with a model and its lengths", workers)
	}
	textModel := workers[0].Models[0]
	imageModel := "stable_diffusion"
	for path, want := range map[string]string{"/api/horde/text-models": textModel, "/api/horde/sd-models": imageModel} {
		var models []struct {
			Name  string
			Count int
		}
		s.get(path, map[string]any{"force": true}, &models)
		if len(models) != 1 || models[0].Name != want || models[0].Count != 1 {
			t.Errorf("%s: %+v, want one worker of %s", path, models, want)
		}
	}

	// Jobs.
	finished := map[string]int{}
	for i := range 5 {
		got := s.text(fmt.Sprintf("Once upon a time, number %d", i), textModel)
		for _, g := range got.Generations {
			if g.Text == "" || g.Model != textModel || !strings.HasPrefix(g.WorkerName, "simulated") {
				t.Errorf("text %d: %+v, want one of %s", i, g, textModel)
			}
			finished["text"]++
		}
	}
	for i := range 2 {
		picture, err := base64.StdEncoding.DecodeString(string(s.get("/api/horde/generate-image", imageRequest(imageModel), nil)))
		if err != nil || !bytes.HasPrefix(picture, []byte("RIFF")) {
			t.Fatalf("generate-image %d: %v: %.16q, want WebP in base64", i, err, picture)
		}
		finished["image"]++
		var caption struct{ Caption string }
		s.get("/api/horde/caption-image", map[string]any{"image": base64.StdEncoding.EncodeToString(picture)}, &caption)
		if caption.Caption == "" {
			t.Errorf("caption-image %d: empty", i)
		}
		finished["caption"]++
	}
	if want := "map[caption:2 image:2 text:5]"; fmt.Sprint(finished) != want {
		t.Errorf("finished jobs: %v, want %s", finished, want)
	}
	s.cancels(nodes)

	if k := sameKudos(nodes, client); k >= 50_000 {
		t.Errorf("the client has %v after paying, want less than 50000", k)
	}
	if k := sameKudos(nodes, owner); k <= 500 {
		t.Errorf("the workers' owner has %v after working, want more than 500", k)
	}
}

// cancels cancels a text by the page's button and an image by closing the connection.
func (s *tavern) cancels(nodes []*process) {
	s.t.Helper()
	id := s.askText("never mind", "nobody/has-this")
	var was taskStatus
	s.get("/api/horde/cancel-task", map[string]any{"taskId": id}, &was)
	if was.Waiting != 1 || was.Done {
		s.t.Errorf("cancel-task: %+v, want the state before: one waiting", was)
	}
	nodes[0].eventually(time.Minute, "the text request cancelled", func() error {
		var after taskStatus
		s.get("/api/horde/task-status", map[string]any{"taskId": id}, &after)
		if after.Waiting != 0 || len(after.Generations) != 0 {
			return fmt.Errorf("task-status: %+v, want nothing waiting", after)
		}
		return nil
	})

	queued := func(want int) func() error {
		return func() error {
			var p struct {
				Queued int `json:"queued_requests"`
			}
			if _, err := call("GET", nodes[0].url+"/api/v2/status/performance", "", nil, &p); err != nil {
				return err
			}
			if p.Queued != want {
				return fmt.Errorf("%d image requests queued, want %d", p.Queued, want)
			}
			return nil
		}
	}
	nodes[0].eventually(time.Minute, "an empty queue", queued(0))
	ctx, hangUp := context.WithCancel(s.t.Context())
	left := make(chan error, 1)
	go func() {
		_, b, err := s.post(ctx, "/api/horde/generate-image", imageRequest("Deliberate"))
		if err == nil {
			err = fmt.Errorf("answered %.100s", b)
		}
		left <- err
	}()
	nodes[0].eventually(time.Minute, "the image request in the queue", queued(1))
	hangUp()
	if err := <-left; !errors.Is(err, context.Canceled) {
		s.t.Errorf("generate-image: %v, want it to be left", err)
	}
	nodes[0].eventually(time.Minute, "the image request cancelled", queued(0))
}

// textFile writes a file of the test's own and returns its path.
func textFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
