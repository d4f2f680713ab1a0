//go:build browser

package nodetest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"hordenode/api/login"
	"hordenode/api/login/logintest"
	"hordenode/internal/horde"
	"hordenode/node"
	"hordenode/node/nodetest"
)

// A tab is a page of headless Chromium. It fails the test when a page opens a dialog, throws
// or asks for something that the policy forbids.
type tab struct {
	*testing.T
	ctx  context.Context
	base string
	wide int64

	mu       sync.Mutex // guards the fields below
	complain []string
}

func browse(t *testing.T, base string, wide int64) *tab {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.NoSandbox, chromedp.Flag("disable-gpu", true))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, cancel := chromedp.NewContext(alloc)
	b := &tab{T: t, ctx: ctx, base: base, wide: wide}
	var listening sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		stop()
		listening.Wait()
	})
	b.run(chromedp.EmulateViewport(wide, 900))
	target := chromedp.FromContext(ctx).Target
	dialogs, thrown := cdp.Events(ctx, target, page.JavascriptDialogOpening), cdp.Events(ctx, target, runtime.ExceptionThrown)
	listening.Go(func() {
		for e, err := range dialogs {
			if err != nil {
				return
			}
			b.note("dialog: " + e.Message) // which stops the page until it is answered
			if _, err := cdp.Call(ctx, target, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{}); err != nil {
				return
			}
		}
	})
	listening.Go(func() {
		for e, err := range thrown {
			if err != nil {
				return
			}
			b.note("exception: " + e.ExceptionDetails.Text)
		}
	})
	return b
}

func (b *tab) note(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complain = append(b.complain, s)
}

// run does actions, and then looks whether the page complained.
func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	do(b, chromedp.Steps(actions...))
}

// do does an action that answers, and then looks whether the page complained.
func do[T any](b *tab, a chromedp.Action[T]) T {
	b.Helper()
	ctx, cancel := b.ctx, context.CancelFunc(func() {})
	if chromedp.FromContext(ctx).Target != nil { // the first call starts the browser
		ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	}
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		late, cancel := context.WithTimeout(b.ctx, 10*time.Second)
		defer cancel()
		where, _ := chromedp.Run(late, chromedp.Location())
		text, _ := chromedp.Run(late, chromedp.Text(chromedp.CSS("body")))
		b.Fatalf("at %s: %v\n%s", where, err, text)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complain) > 0 {
		b.Fatalf("the page complained: %q", b.complain)
	}
	return v
}

// noScripts keeps pages from running any.
func (b *tab) noScripts() {
	b.Helper()
	_, err := cdp.Call(b.ctx, chromedp.FromContext(b.ctx).Target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	if err != nil {
		b.Fatal(err)
	}
}

func (b *tab) open(path string) {
	b.Helper()
	b.run(chromedp.Navigate(b.base+path), chromedp.WaitReady(chromedp.CSS("main")))
}

func (b *tab) click(selector string) {
	b.Helper()
	b.run(chromedp.Click(chromedp.CSS(selector)))
}

// submit presses a button and waits for the next page.
func (b *tab) submit(selector string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.Fatalf("press %s at %s: %v", selector, do(b, chromedp.Location()), err)
	}
	b.run(chromedp.WaitReady(chromedp.CSS("main")))
}

func (b *tab) fill(selector, value string) {
	b.Helper()
	b.run(chromedp.SetValue(chromedp.CSS(selector), value))
}

func (b *tab) text(selector string) string {
	b.Helper()
	return do(b, chromedp.Text(chromedp.CSS(selector)))
}

// sees wants a text in what is shown.
func (b *tab) sees(selector, want string) {
	b.Helper()
	if got := b.text(selector); !strings.Contains(got, want) {
		b.Fatalf("%s: got %q, want %q in it", selector, got, want)
	}
}

// shot keeps a picture if HORDENODE_SHOTS names a folder, and refuses pages that are wider
// than the screen.
func (b *tab) shot(name string) {
	b.Helper()
	over := do(b, chromedp.Evaluate[int64](`document.documentElement.scrollWidth - document.documentElement.clientWidth`))
	if over > 0 {
		b.Errorf("%s is %d pixels wider than a screen of %d", name, over, b.wide)
	}
	if dir := os.Getenv("HORDENODE_SHOTS"); dir != "" {
		image := do(b, chromedp.FullScreenshot(100))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, b.wide)), image, 0o644); err != nil {
			b.Error(err)
		}
	}
}

func (b *tab) logIn(key string) {
	b.Helper()
	b.open("/profile")
	b.fill("#apikey", key)
	b.submit("form[action='/profile'] button.button")
}

// community is a node with a provider to log in with, and people, workers and texts that are
// as hostile as given.
func community(t *testing.T, hostile string) (*nodetest.Cluster, *logintest.Provider, nodetest.Account, string) {
	t.Helper()
	idp := logintest.New(t)
	c := nodetest.New(t, 1, func(cfg *node.Config) {
		l := idp.Config(login.OIDC, "club")
		cfg.PublicURL = "http://" + cfg.API
		cfg.OutboundAllow = loopback()
		cfg.Logins = []node.Login{{Name: l.Name, Title: "The club", Kind: string(l.Kind), ClientID: l.ClientID, Secret: l.Secret, Issuer: l.Issuer}}
	})
	mod := c.NewModerator()
	rest := mod.At(c.Nodes[0])
	must := func(method, path string, body, out any) {
		t.Helper()
		if a, err := rest.Do(method, path, body, out); err != nil || !a.OK() {
			t.Fatalf("%s %s: %+v, %v", method, path, a, err)
		}
	}
	short := hostile
	if len(short) > 8 { // what is escaped counts more than once
		short = short[:8]
	}
	me := fmt.Sprintf("/api/v2/users/%d", mod.ID)
	must("PUT", me, map[string]any{"username": short + "m", "contact": hostile + " contact", "admin_comment": hostile + " comment", "public_workers": true}, nil)
	must("POST", "/api/v2/generate/pop", map[string]any{"name": hostile + " worker", "models": []string{"stable_diffusion"}, "bridge_agent": hostile + ":1:x", "max_pixels": 65536, "nsfw": false, "blacklist": []string{}, "priority_usernames": []string{}, "amount": 1}, nil)
	var team struct{ ID string }
	must("POST", "/api/v2/teams", map[string]any{"name": hostile + " team", "info": hostile + " info"}, &team)
	var worker struct {
		Workers []string `json:"worker_ids"`
	}
	must("GET", me, nil, &worker)
	if len(worker.Workers) != 1 {
		t.Fatalf("got workers %v, want one", worker.Workers)
	}
	must("PUT", "/api/v2/workers/"+worker.Workers[0], map[string]any{"info": hostile + " info", "team": team.ID, "maintenance": true, "maintenance_msg": hostile + " resting"}, nil)
	must("PUT", "/api/v2/filters", map[string]any{"regex": "a" + strings.NewReplacer("(", `\(`, ")", `\)`, "[", `\[`, "{", `\{`, "*", `\*`, "+", `\+`, "?", `\?`, "\\", `\\`).Replace(hostile), "filter_type": 10, "description": hostile, "replacement": hostile}, nil)
	must("POST", "/api/v2/workers/messages", map[string]any{"message": hostile + " message", "origin": hostile + " origin", "worker_id": worker.Workers[0]}, nil)
	must("PUT", "/api/v2/sharedkeys", map[string]any{"name": hostile + " key", "kudos": 500}, nil)
	must("POST", "/api/v2/operations/ipaddr", map[string]any{"ipaddr": "192.0.2.0/24", "hours": 2, "reason": hostile + " reason"}, nil)
	return c, idp, mod, worker.Workers[0]
}

// pagesOf are all pages, with the ids that lead to somebody.
func pagesOf(t *testing.T, c *nodetest.Cluster, mod nodetest.Account, worker string) []string {
	t.Helper()
	var teams []struct{ ID string }
	if a, err := mod.At(c.Nodes[0]).Do("GET", "/api/v2/teams", nil, &teams); err != nil || !a.OK() || len(teams) == 0 {
		t.Fatalf("teams: %+v, %v", a, err)
	}
	user := fmt.Sprint(int64(mod.ID))
	return []string{
		"/", "/register", "/profile", "/profile/settings", "/profile/statement", "/profile/keys", "/transfer", "/leaderboard", "/workers", "/teams", "/teams/" + teams[0].ID,
		"/news", "/terms", "/privacy", "/sponsors", "/api/", "/moderation", "/moderation/users/" + user, "/moderation/workers", "/moderation/workers/" + worker,
		"/moderation/filters", "/moderation/filters?edit=1", "/moderation/blocks", "/moderation/messages", "/moderation/modes", "/moderation/log",
	}
}

// Everything a person does works without scripts: registering, looking at the account,
// replacing the key, sending kudos, logging out, and the same with a login.
func TestBrowserPeople(t *testing.T) {
	c, idp, _, _ := community(t, "calm")
	b := browse(t, c.Nodes[0].URL(), 1200)
	b.noScripts()

	b.open("/register")
	b.fill("#username", "ada")
	b.submit("form[action='/register'] button")
	key := strings.TrimSpace(b.text("#key"))
	b.sees("h1", "ada#")
	b.logIn(key)
	b.sees("h1", "ada#")
	b.click("details summary")
	b.fill("form[action='/profile/key'] input[name=apikey]", key)
	b.submit("form[action='/profile/key'] button")
	fresh := strings.TrimSpace(b.text("#key"))
	if fresh == key || len(fresh) != 22 {
		t.Fatalf("the new key is %q", fresh)
	}
	rich := c.NewAccount(1000, true)
	b.submit("form[action='/profile/logout'] button")
	b.logIn(key)
	b.sees("[role=alert]", "No account has this API key")
	b.logIn(rich.Key)
	b.open("/transfer")
	b.fill("#username", "ada#"+idOf(t, c, fresh))
	b.fill("#amount", "40")
	b.submit("form[action='/transfer'] button")
	b.sees("[role=status]", "40 kudos were sent to ada#")
	b.open("/profile/statement")
	b.sees("table", "Sent to")
	b.open("/profile")
	b.submit("form[action='/profile/logout'] button")
	b.sees("h1", "Your account")

	// With a login: a new account, its settings, its deletion and back.
	idp.Person("42", "Grace")
	b.open("/register")
	b.submit("form[action='/login/club'] button")
	if !atPath(b, "/register/login") {
		b.sees("h1", "Log in with The club")
		b.submit("a.button")
	}
	b.submit("form[action='/register/login'] button")
	b.sees("h1", "Grace#")
	b.open("/profile/settings")
	b.fill("#contact", "grace@example.org")
	b.submit("form[action='/profile/settings'] button")
	b.sees("[role=status]", "Saved")
	b.click("#delete summary")
	b.click("#delete input[name=really]")
	b.submit("#delete button")
	b.sees("h2", "This account is deleted")
	b.submit("form[action='/profile/undelete'] button")
	b.sees("[role=status]", "Your account is back")
	if got := idp.Problems(); len(got) > 0 {
		t.Errorf("the provider complains: %v", got)
	}
	c.CheckLedger()
}

func atPath(b *tab, path string) bool {
	b.Helper()
	return do(b, chromedp.Location()) == b.base+path
}

func idOf(t *testing.T, c *nodetest.Cluster, key string) string {
	t.Helper()
	var u struct{ ID int64 }
	if a, err := (nodetest.REST{URL: c.Nodes[0].URL(), Key: key}).Do("GET", "/api/v2/find_user", nil, &u); err != nil || !a.OK() {
		t.Fatalf("find_user: %+v, %v", a, err)
	}
	return fmt.Sprint(u.ID)
}

// What moderators do works, takes effect, is in the log, and can be taken back.
func TestBrowserConsole(t *testing.T) {
	c, _, mod, worker := community(t, "calm")
	victim := c.NewAccount(100, false)
	b := browse(t, c.Nodes[0].URL(), 1200)
	b.noScripts()
	b.open("/moderation")
	b.sees("h1", "Your account") // to log in
	b.logIn(mod.Key)
	b.open("/moderation")
	b.fill("#find", victim.Alias)
	b.submit("form[role=search] button")
	b.submit("table a")
	b.sees("h1", victim.Alias)
	b.click("input[type=checkbox][name=flagged]")
	b.fill("input[name=reason]", "spam")
	b.submit("main form.card button.button")
	b.sees("[role=status]", "Saved")
	flagged := func() bool {
		u, _ := c.Nodes[0].User(victim.ID)
		return u.Is(horde.RoleFlagged)
	}
	if !flagged() {
		t.Error("the user is not flagged")
	}
	b.open("/moderation/log")
	b.sees("tbody tr", "flagged=true")
	b.sees("tbody tr", "spam")
	b.submit("tbody tr form button")
	b.sees("[role=status]", "Undone")
	if flagged() {
		t.Error("undoing had no effect")
	}
	user := fmt.Sprintf("/moderation/users/%d", victim.ID)
	b.open(user)
	b.click("#delete summary")
	b.click("#delete input[name=really]")
	b.fill("#delete input[name=apikey]", victim.Key)
	b.submit("#delete button")
	b.sees("[role=alert]", "not the key of the account that is logged in")
	b.open(user)
	b.click("#delete summary")
	b.click("#delete input[name=really]")
	b.fill("#delete input[name=apikey]", mod.Key)
	b.submit("#delete button")
	b.sees("h1", victim.Alias)
	b.sees("#delete", "Take the account back")

	b.open("/moderation/workers/" + worker)
	b.click("input[name=paused]")
	b.submit("main form.card button.button")
	b.sees("[role=status]", "Saved")
	b.open("/moderation/filters")
	b.fill("#edit input[name=regex]", "purple elephants?")
	b.submit("#edit button")
	b.fill("#try textarea", "a purple elephant")
	b.submit("#try button")
	b.sees("#try [role=status]", "purple elephant")
	b.open("/moderation/messages")
	b.fill("textarea[name=message]", "hello workers")
	b.submit("form[action='/moderation/messages'] button")
	b.sees("tbody", "hello workers")
	b.open("/moderation/blocks")
	b.fill("form.card input[name=ipaddr]", "198.51.100.0/24")
	b.submit("form.card button")
	b.sees("tbody", "198.51.100.0/24")
	b.open("/moderation/modes")
	b.click("input[name=raid]")
	b.submit("form.card button")
	b.sees("[role=status]", "Saved")
	b.open("/register")
	b.fill("#username", "late")
	b.submit("form[action='/register'] button")
	b.sees("[role=alert]", "New accounts cannot be made")
	c.CheckLedger()
}

// Whatever people write about themselves, no page runs it: no dialog, no script, no element.
func TestBrowserRunsNothing(t *testing.T) {
	for i, hostile := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(2)>`, `'><svg/onload=alert(3)>`, `{{alert(4)}}<b onclick=x>`, `javascript:alert(5)//`, "`-alert(6)-`${alert(6)}",
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			c, _, mod, worker := community(t, hostile)
			b := browse(t, c.Nodes[0].URL(), 1200)
			b.logIn(mod.Key)
			for _, path := range pagesOf(t, c, mod, worker) {
				b.open(path)
				found := do(b, chromedp.Evaluate[[]string](`[...document.querySelectorAll("main script, main svg:not([id]), img[onerror], img[src=x], [onclick], [onload], a[href^='javascript:'], main iframe")].map(e => e.outerHTML)`))
				if len(found) > 0 && path != "/" {
					t.Errorf("%s has %q", path, found)
				}
			}
		})
	}
}

// All pages fit a phone and a screen, and say nothing in the console.
func TestBrowserShots(t *testing.T) {
	c, _, mod, worker := community(t, "Quiet workshop")
	c.NewAccount(123456, true)
	c.NewAccount(50, false)
	for _, wide := range []int64{1280, 375} {
		b := browse(t, c.Nodes[0].URL(), wide)
		b.open("/profile")
		b.shot("login")
		b.logIn(mod.Key)
		for _, path := range pagesOf(t, c, mod, worker) {
			name := strings.Trim(strings.NewReplacer("/", "-", "?", "-", "=", "-").Replace(path), "-")
			name = strings.NewReplacer("-"+worker, "-one", "-"+fmt.Sprint(int64(mod.ID)), "-one").Replace(name)
			if strings.HasPrefix(name, "teams-") {
				name = "teams-one"
			}
			b.open(path)
			b.shot("p-" + name)
		}
	}
}
