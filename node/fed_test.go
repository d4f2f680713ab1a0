package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"hordenode/ledger"
	"hordenode/node"
	"hordenode/node/nodetest"
)

// order calls a node's control socket, as the operator's commands do.
func order(t *testing.T, n *nodetest.Node, method, path string, body, out any) error {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", filepath.Join(n.Data(), "control.sock"))
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://control"+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var e struct{ Message string }
		if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
			return fmt.Errorf("%s %s: %s: %w", method, path, res.Status, err)
		}
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, e.Message)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

// TestProofsAreAlikeEverywhere asks every node for the same account and checks the answers
// offline; heads of one index are equal.
func TestProofsAreAlikeEverywhere(t *testing.T) {
	c := nodetest.New(t, 2)
	alice := c.NewAccount(1000, true)
	c.Eventually("a proof of one index at both nodes", func() error {
		var heads []ledger.SignedHead
		for _, n := range c.Nodes {
			var raw json.RawMessage
			if a, err := alice.At(n).Do("GET", fmt.Sprintf("/api/fed/v1/proof/%d", alice.ID), nil, &raw); err != nil || !a.OK() {
				return fmt.Errorf("%s: %+v %w", n.Name, a, err)
			}
			p, err := node.VerifyProof(raw)
			if err != nil || p.Head.Node != n.ID() {
				t.Fatalf("%s: signed by %s: %v in %s", n.Name, p.Head.Node, err, raw)
			}
			if p.Private == nil || p.User != alice.ID {
				t.Fatalf("%s: the proof of alice is of %d, private %v", n.Name, p.User, p.Private)
			}
			if p.Kudos != 1000_00 {
				return fmt.Errorf("%s: alice has %d hundredths at index %d, want 100000", n.Name, p.Kudos, p.Head.Index)
			}
			heads = append(heads, p.Head)
		}
		a, b := heads[0], heads[1]
		if a.Index != b.Index {
			return fmt.Errorf("heads of %d and %d", a.Index, b.Index)
		}
		if !bytes.Equal(a.Root, b.Root) || !bytes.Equal(a.Chain, b.Chain) || !bytes.Equal(a.StateHash, b.StateHash) {
			t.Fatalf("at %d the heads differ: %+v and %+v", a.Index, a, b)
		}
		return nil
	})
}

// TestMemberThatMisbehaves suspends a member, readmits it, and takes back what it did.
func TestMemberThatMisbehaves(t *testing.T) {
	c := nodetest.New(t, 3)
	c.WaitVoters()
	good, bad := c.Nodes[0], c.Nodes[2]
	alice, bob := c.NewAccount(1000, true), c.NewAccount(100, true)
	send := func(n *nodetest.Node, amount int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			a, err := alice.At(n).Do("POST", "/api/v2/kudos/transfer", map[string]any{"username": bob.Alias, "amount": amount}, nil)
			if err == nil && !a.OK() {
				err = fmt.Errorf("%d: %s", a.Status, a.Message)
			}
			done <- err
		}()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := send(bad, 50); err != nil {
		t.Fatal(err)
	}
	if err := order(t, good, "POST", "/members/"+bad.Name+"/suspend", map[string]string{"reason": "mints"}, nil); err != nil {
		t.Fatal(err)
	}
	status := func(want string) {
		t.Helper()
		c.Eventually(bad.Name+" is "+want, func() error {
			var list []node.MemberStatus
			if err := order(t, good, "GET", "/members", nil, &list); err != nil {
				return err
			}
			for _, m := range list {
				if m.Name == bad.Name && m.Role != want {
					return fmt.Errorf("its role is %q", m.Role)
				}
			}
			return nil
		})
	}
	status("suspended")
	if err := send(good, 5); err != nil {
		t.Errorf("the others do not go on: %v", err)
	}
	if err := order(t, good, "POST", "/members/"+bad.Name+"/readmit", map[string]string{}, nil); err != nil {
		t.Fatal(err)
	}
	c.Eventually("the member writes again", func() error { return send(bad, 1) })

	// What it did before is read from its own log and taken back, once.
	bad.Stop()
	file := filepath.Join(t.TempDir(), "ledger.hrd")
	if _, err := node.ExportLedger(t.Context(), bad.Data(), file, "test"); err != nil {
		t.Fatal(err)
	}
	list, member, err := node.DoingsIn(t.Context(), file, node.DoingsQuery{Member: bad.Name, Booked: true})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := good.User(bob.ID)
	var back int64
	for _, d := range list {
		if d.Kind != "transfer" || !d.Reversible() {
			continue
		}
		for _, b := range d.Booked {
			if b.User == bob.ID {
				back += int64(b.Amount)
			}
		}
		for _, want := range []bool{true, false} {
			var out node.ReverseAnswer
			if err := order(t, good, "POST", "/ledger/reverse", node.ReverseOrder{Of: d.Place, Member: member.ID, Booked: d.Booked}, &out); err != nil {
				t.Fatal(err)
			}
			if out.Done != want {
				t.Errorf("command %v: reversed %t, want %t", d.Place, out.Done, want)
			}
		}
	}
	if back < 51_00 {
		t.Errorf("%d hundredths are taken back, want 50 and 1 kudos at least", back)
	}
	if after, _ := good.User(bob.ID); int64(before.Kudos-after.Kudos) != back {
		t.Errorf("bob had %v and has %v; %d hundredths were to be taken back", before.Kudos, after.Kudos, back)
	}
	bad.Start()
	c.CheckLedger()
}
