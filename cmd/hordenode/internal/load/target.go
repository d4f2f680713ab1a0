package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"hordenode/cmd/hordenode/internal/rest"
)

// A Target is a federation as the load generator sees it.
type Target struct {
	clients []*rest.Client // one an address, without a key
	users   []Account
	workers []worker
}

// An Account sends requests, runs workers, transfers kudos.
type Account struct {
	Key   string
	Alias string // name#number
}

type worker struct {
	key string
	pop []byte // the body of its pops
}

// Setup says what Connect prepares.
type Setup struct {
	URLs    []string
	Key     string // of a funded account; empty: make accounts with the test bootstrap
	Users   int    // made with the test bootstrap; 0 = 32
	Workers int    // 0 = 40, or 4 if there is only one account
	Conns   int    // most connections to one address
}

const (
	model       = "hordenode-bench" // a name of our own, so that we take nobody else's jobs
	userKudos   = 50_000_000
	concurrency = 500 // most that the API lets a moderator set
	perOwner    = 10  // workers of one account
)

// Connect waits until the nodes serve and prepares accounts and workers. Without a key the
// nodes must have the test bootstrap (HORDE_TEST_APIKEYS=1) and no rate limits.
func Connect(ctx context.Context, s Setup) (*Target, error) {
	if len(s.URLs) == 0 {
		return nil, errors.New("no URL to drive")
	}
	httpc := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: max(s.Conns, 64),
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}}
	t := &Target{}
	for _, url := range s.URLs {
		t.clients = append(t.clients, &rest.Client{Base: strings.TrimRight(url, "/"), Agent: "hordenode bench:1:-", HTTP: httpc})
	}
	for _, c := range t.clients {
		if err := c.Heartbeat(ctx); err != nil {
			return nil, fmt.Errorf("%s does not serve: %w", c.Base, err)
		}
	}
	if err := t.accounts(ctx, s); err != nil {
		return nil, err
	}
	return t, t.hire(ctx, s)
}

// Close closes the connections.
func (t *Target) Close() { t.clients[0].HTTP.CloseIdleConnections() }

// accounts takes the given key, or makes as many users as asked for.
func (t *Target) accounts(ctx context.Context, s Setup) error {
	c := *t.clients[0]
	if s.Key != "" {
		c.Key = s.Key
		u, err := c.FindUser(ctx)
		if err != nil {
			return fmt.Errorf("look up the account of the key: %w", err)
		}
		t.users = []Account{{Key: s.Key, Alias: u.Username}}
		return nil
	}
	boss, err := c.CreateTestUser(ctx, "bench-moderator", true, 0)
	if err != nil {
		return fmt.Errorf("%s cannot make test users (give --key, or run the node with HORDE_TEST_APIKEYS=1): %w", c.Base, err)
	}
	n := s.Users
	if n <= 0 {
		n = 32
	}
	moderator := c
	moderator.Key = boss.APIKey
	for i := range n {
		u, err := c.CreateTestUser(ctx, fmt.Sprintf("bench-%02d", i), false, userKudos)
		if err != nil {
			return fmt.Errorf("make test user: %w", err)
		}
		if err := moderator.SetLimits(ctx, u.ID.String(), concurrency, 100); err != nil {
			return fmt.Errorf("raise limits of test user: %w", err)
		}
		t.users = append(t.users, Account{Key: u.APIKey, Alias: u.Alias})
	}
	return nil
}

// hire makes the workers known by a first pop, which the ledger records.
func (t *Target) hire(ctx context.Context, s Setup) error {
	n := s.Workers
	if n <= 0 {
		n = 40
		if len(t.users) == 1 {
			n = 4
		}
	}
	for i := range n {
		owner := t.users[(i/perOwner)%len(t.users)]
		body, err := json.Marshal(rest.Pop{
			Name:   fmt.Sprintf("hordenode-bench-%s-%d", strings.ReplaceAll(owner.Alias, "#", "-"), i),
			Models: []string{model}, BridgeAgent: "hordenode bench:1.0.0:https://hordenode.invalid/bench",
			Threads: 1, Amount: 1, NSFW: true, MaxLength: 512, MaxContextLength: 4096,
		})
		if err != nil {
			return err
		}
		t.workers = append(t.workers, worker{key: owner.Key, pop: body})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, w := range t.workers {
		g.Go(func() error {
			if _, err := t.client(i, w.key).PopRaw(ctx, rest.Text, w.pop); err != nil {
				return fmt.Errorf("first pop of a worker: %w", err)
			}
			return nil
		})
	}
	return g.Wait()
}

// client returns a client for the i-th caller: callers take the addresses in turn.
func (t *Target) client(i int, key string) *rest.Client {
	c := *t.clients[i%len(t.clients)]
	c.Key = key
	return &c
}

func (t *Target) user(i int) Account { return t.users[i%len(t.users)] }

// Body is a text request of about 3 kB. A request that does not accept slow workers needs
// its kudos set aside durably before it is accepted.
func Body(slots int, slowWorkers bool) []byte {
	prompt := bytes.Repeat([]byte("The quick brown node hands a job to the lazy worker, who settles it. "), 40)
	b, err := json.Marshal(asyncBody{
		Prompt: string(prompt),
		Params: asyncParams{
			N: slots, MaxContextLength: 2048, MaxLength: 80, RepPen: 1.1, RepPenRange: 320, Temperature: 0.7, TopP: 0.92, Typical: 1,
			SamplerOrder: []int{6, 0, 1, 3, 4, 2, 5}, StopSequence: []string{"\nUser:", "\nWorker:"},
		},
		Models: []string{model}, SlowWorkers: slowWorkers,
	})
	if err != nil {
		panic("load: a constant body does not encode: " + err.Error())
	}
	return b
}

// overloaded tells whether err is a refusal that says: too much at the moment.
func overloaded(err error) bool {
	var e *rest.Error
	return errors.As(err, &e) && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable)
}

// full turns the refusal of an account that has all the jobs it may have into errFull.
func full(err error) error {
	if rest.HasRC(err, "TooManyPrompts") {
		return errFull
	}
	return err
}
