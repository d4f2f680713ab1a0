package ledger

import (
	"testing"
	"time"

	"hordenode/internal/horde"
)

// The worked examples of spec/kudos.md appendix A, as far as they are about what is posted:
// prices come in finished.
func TestWorkedExamplesOfSettlement(t *testing.T) {
	for _, tt := range []struct {
		name          string
		kind          horde.Kind
		tax           horde.Kudos
		debit, credit horde.Kudos // of each job
		jobs          int
		censored      bool
		untrusted     bool // the owner

		paid, spendable, escrow horde.Kudos // in all
		requests                int64
		account                 Account // where the difference goes
		rest                    horde.Kudos
	}{
		{"1 image", horde.KindImage, 300, 1100, 1000, 1, false, false, 1400, 1000, 0, 2, AccountJobTax, 100},
		{"2 four images", horde.KindImage, 300, 1100, 1000, 4, false, false, 4700, 4000, 0, 5, AccountJobTax, 400},
		{"3 fast workers only", horde.KindImage, 300, 1320, 1000, 1, false, false, 1620, 1000, 0, 2, AccountJobTax, 320},
		{"4 and a blacklist", horde.KindImage, 300, 1452, 1000, 1, false, false, 1752, 1000, 0, 2, AccountJobTax, 452},
		{"6 rounded once", horde.KindImage, 300, horde.RoundKudos(19.338), 1000, 1, false, false, 2234, 1000, 0, 2, AccountJobTax, 934},
		{"10 flux", horde.KindImage, 300, 16100, 16000, 1, false, false, 16400, 16000, 0, 2, AccountJobTax, 100},
		{"13 censored", horde.KindImage, 300, 132, 1000, 1, true, false, 432, 1000, 0, 2, AccountCensored, -868},
		{"14 an old bridge", horde.KindImage, 300, 1100, 900, 1, false, false, 1400, 900, 0, 2, AccountJobTax, 200},
		{"14 an unknown bridge", horde.KindImage, 300, 1100, 750, 1, false, false, 1400, 750, 0, 2, AccountJobTax, 350},
		{"15 untrusted owner", horde.KindImage, 300, 5100, 3750, 1, false, true, 5400, 1875, 1875, 2, AccountJobTax, 1350},
		// The spec splits before it rounds (2.85 and 2.86); the credit comes rounded here, and
		// the odd hundredth goes to escrow.
		{"16 an odd hundredth", horde.KindImage, 300, 861, horde.RoundKudos(5.7075), 1, false, true, 1161, 285, 286, 2, AccountJobTax, 290},
		{"17 remix", horde.KindImage, 1800, 1100, 1000, 1, false, false, 2900, 1000, 0, 2, AccountJobTax, 100},
		{"20 text", horde.KindText, 100, 1144, 1044, 1, false, false, 1244, 1044, 0, 2, AccountJobTax, 100},
		{"23 unknown text model, untrusted", horde.KindText, 100, 221, horde.RoundKudos(1.2113684), 1, false, true, 321, 60, 61, 2, AccountJobTax, 100},
		{"27 alchemy", horde.KindAlchemy, 0, 300, 100, 1, false, false, 300, 100, 0, 1, AccountJobTax, 200},
		{"credit beyond the debit", horde.KindText, 100, 100, 500, 1, false, false, 200, 500, 0, 2, AccountSubsidy, -400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			role := horde.RoleTrusted
			if tt.untrusted {
				role = 0
			}
			payer, owner := w.person("payer", horde.Whole(10_000), 0), w.person("owner", horde.Whole(1000), role)
			worker := w.worker(owner, tt.kind, "worker")
			id := w.admit(horde.Admission{Kind: tt.kind, Payer: payer, Slots: tt.jobs, Tax: tt.tax})
			for slot := range tt.jobs {
				wantRC(t, w.settle(horde.Settlement{Request: id, Slot: slot, Worker: worker, Debit: tt.debit, Credit: tt.credit, Censored: tt.censored}), "")
			}
			p, o := w.user(payer), w.user(owner)
			if got := horde.Whole(10_000) - p.Kudos; got != tt.paid || p.Details.Accumulated != -tt.paid {
				t.Errorf("the payer paid %v (%v accumulated), want %v", got, p.Details.Accumulated, tt.paid)
			}
			if got := o.Kudos - horde.Whole(1000); got != tt.spendable || o.Details.Accumulated != tt.spendable || o.Escrow != tt.escrow {
				t.Errorf("the owner earned %v (%v accumulated), %v in escrow; want %v, %v", got, o.Details.Accumulated, o.Escrow, tt.spendable, tt.escrow)
			}
			if got := p.Records.Requests[tt.kind]; got != tt.requests {
				t.Errorf("%d requests are recorded, want %d", got, tt.requests)
			}
			if got := o.Records.Fulfillments[tt.kind]; got != int64(tt.jobs) {
				t.Errorf("%d fulfillments are recorded, want %d", got, tt.jobs)
			}
			totals := w.Totals()
			if got := totals.Accounts[tt.account]; got != tt.rest {
				t.Errorf("%s has %v, want %v", tt.account, got, tt.rest)
			}
			if got := totals.Accounts[AccountTax]; got != tt.tax {
				t.Errorf("tax is %v, want %v", got, tt.tax)
			}
			v, _ := w.Worker(worker)
			if v.KudosGenerated != tt.credit*horde.Kudos(tt.jobs) || v.Fulfilled != int64(tt.jobs) {
				t.Errorf("the worker generated %v in %d jobs", v.KudosGenerated, v.Fulfilled)
			}
			w.check()
		})
	}
}

// Examples 28 and 29: uptime.
func TestWorkedExamplesOfUptime(t *testing.T) {
	for _, tt := range []struct {
		name              string
		kind              horde.Kind
		role              horde.Roles
		reward            horde.Kudos
		spendable, escrow horde.Kudos
	}{
		{"28 image, untrusted", horde.KindImage, 0, 10_000, 0, 10_000},
		{"image, trusted", horde.KindImage, horde.RoleTrusted, 10_000, 10_000, 0},
		{"29 text, untrusted", horde.KindText, 0, 16_571, 0, 16_571},
		{"29 alchemist, untrusted", horde.KindAlchemy, 0, 4_000, 4_000, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			owner := w.person("owner", horde.Whole(100), tt.role)
			worker := w.worker(owner, tt.kind, "worker")
			report := func(reward horde.Kudos) {
				w.run(w.EncodeUptime(horde.Uptime{Worker: worker, Seconds: 601, Reward: reward}))
			}
			report(tt.reward)
			w.pass(599 * time.Second)
			report(tt.reward) // too early: only the seconds count
			o, v := w.user(owner), ptr(horde.Worker{})
			*v, _ = w.Worker(worker)
			if o.Kudos-horde.Whole(100) != tt.spendable || o.Escrow != tt.escrow || o.Details.Accumulated != tt.spendable {
				t.Errorf("the owner has %v and %v in escrow, want %v and %v more", o.Kudos, o.Escrow, tt.spendable, tt.escrow)
			}
			if v.KudosUptime != tt.reward || v.Uptime != 1202 {
				t.Errorf("the worker has %v for %d s, want %v for 1202", v.KudosUptime, v.Uptime, tt.reward)
			}
			w.pass(time.Second)
			report(tt.reward)
			if got := w.Totals().Accounts[AccountUptime]; got != -2*tt.reward {
				t.Errorf("uptime made %v, want %v", got, -2*tt.reward)
			}
			w.check()
		})
	}
}

// Examples 30 to 33: the floor.
func TestWorkedExamplesOfTheFloor(t *testing.T) {
	type step struct {
		post     horde.Kudos // by an award, or a debit if negative
		balance  horde.Kudos
		forgiven horde.Kudos // by this step
	}
	for _, tt := range []struct {
		name  string
		class horde.Class
		steps []step
	}{
		{"30 fresh, debited", horde.ClassRegistered, []step{{-300, 2500, 2800}}},
		{"30 fresh, a small credit", horde.ClassRegistered, []step{{1000, 2500, 1500}}},
		{"30 fresh, a large credit", horde.ClassRegistered, []step{{4000, 4000, 0}}},
		{"fresh and pseudonymous", horde.ClassPseudonymous, []step{{-300, 1400, 1700}}},
		{"31 anonymous near the floor", horde.ClassAnonymous, []step{{-4000, -4000, 0}, {-1100, -5000, 100}}},
		{"32 each posting counts", horde.ClassRegistered, []step{{3000, 3000, 0}, {-10_000, 2500, 9500}, {5000, 7500, 0}}},
		{"33 halves are not lost", horde.ClassRegistered, []step{{10_000, 10_000, 0}, {-50, 9950, 0}, {-50, 9900, 0}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			id := horde.Anonymous
			if tt.class != horde.ClassAnonymous {
				u, _, err := w.CreateUser(w.ctx, NewUser{Name: "u", Class: tt.class})
				if err != nil {
					t.Fatal(err)
				}
				id = u.ID
				if u.Kudos != 0 {
					t.Errorf("a fresh account has %v, want 0", u.Kudos)
				}
			}
			for i, s := range tt.steps {
				before := w.Totals().Accounts[AccountForgiveness]
				if s.post < 0 {
					w.admit(horde.Admission{Payer: id, Tax: -s.post})
				} else {
					wantRC(t, w.Award(w.ctx, 1, id, s.post), "")
				}
				if got := w.user(id).Kudos; got != s.balance {
					t.Errorf("step %d: balance is %v, want %v", i, got, s.balance)
				}
				if got := before - w.Totals().Accounts[AccountForgiveness]; got != s.forgiven {
					t.Errorf("step %d: forgave %v, want %v", i, got, s.forgiven)
				}
				w.check()
			}
		})
	}
}

// Example 37: two transfers of 60 out of 100.
func TestWorkedExampleOfTransfers(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", horde.Whole(100), 0), w.person("bob", 0, 0)
	tr := Transfer{From: alice, To: bob, Amount: horde.Whole(60)}
	wantRC(t, w.Award(w.ctx, 1, bob, 1), "") // bob is at his floor
	wantRC(t, w.Transfer(w.ctx, tr), "")
	wantRC(t, w.Transfer(w.ctx, tr), horde.RCKudosTransferNotEnough)
	if a, b := w.user(alice).Kudos, w.user(bob).Kudos; a != horde.Whole(40) || b != horde.Whole(85) {
		t.Errorf("alice has %v and bob %v, want 40 and 85", a, b)
	}
}

func TestRecordsCountThings(t *testing.T) {
	w := newWorld(t)
	payer, owner := w.person("payer", horde.Whole(1000), 0), w.person("owner", 0, 0)
	if _, err := w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: payer, UsagePermille: ptr(int64(2500))}); err != nil {
		t.Fatal(err)
	}
	painter, writer := w.worker(owner, horde.KindImage, "painter"), w.worker(owner, horde.KindText, "writer")
	image, text := w.admit(horde.Admission{Payer: payer, Slots: 2}), w.admit(horde.Admission{Payer: payer, Kind: horde.KindText})
	const steps = 512 * 512 * 30 // 7.86432 megapixelsteps
	for slot := range 2 {
		wantRC(t, w.settle(horde.Settlement{Request: image, Slot: slot, Worker: painter, Debit: 100, Credit: 50, Things: steps}), "")
	}
	wantRC(t, w.settle(horde.Settlement{Request: text, Worker: writer, Debit: 100, Credit: 50, Things: 80}), "")
	p, o := w.user(payer).Records, w.user(owner).Records
	if p.UsageImage != 2*1966 || p.UsageText != 200 {
		t.Errorf("usage is %d and %d, want 3932 and 200", p.UsageImage, p.UsageText)
	}
	if o.ContributionImage != 2*786 || o.ContributionText != 80 {
		t.Errorf("contribution is %d and %d, want 1572 and 80", o.ContributionImage, o.ContributionText)
	}
	if v, _ := w.Worker(painter); v.Things != 2*steps {
		t.Errorf("the worker delivered %d, want %d", v.Things, 2*steps)
	}
}

func TestTrustPromotion(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, tt := range []struct {
		name      string
		threshold horde.Kudos
		age       time.Duration
		suspect   int
		credit    horde.Kudos
		trusted   bool
	}{
		{"earned", horde.Whole(10), week, 0, 2002, true},
		{"exactly the threshold is not above it", horde.Whole(10), week, 0, 2000, false},
		{"too young", horde.Whole(10), week - time.Millisecond, 0, 2002, false},
		{"suspicious", horde.Whole(10), week, 5, 2002, false},
		{"four suspicions are forgiven", horde.Whole(10), week, 4, 2002, true},
		{"off", 0, week, 0, 2002, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, Config{TrustThreshold: tt.threshold})
			payer, owner := w.person("payer", horde.Whole(1000), 0), w.person("owner", horde.Whole(100), 0)
			worker, paused := w.worker(owner, horde.KindImage, "worker"), w.worker(owner, horde.KindText, "paused")
			if _, err := w.UpdateWorker(w.ctx, WorkerChange{Actor: 1, Worker: paused, Paused: ptr(true)}); err != nil {
				t.Fatal(err)
			}
			for range tt.suspect {
				wantRC(t, w.SuspectUser(w.ctx, owner, SuspicionUnreasonablyFast), "")
			}
			w.pass(tt.age - time.Duration(w.now-start.UnixMilli())*time.Millisecond)
			id := w.admit(horde.Admission{Payer: payer})
			wantRC(t, w.settle(horde.Settlement{Request: id, Worker: worker, Debit: tt.credit, Credit: tt.credit}), "")
			o := w.user(owner)
			v, _ := w.Worker(paused)
			if o.Is(horde.RoleTrusted) != tt.trusted || v.Paused == tt.trusted {
				t.Errorf("trusted %v, worker paused %v; want trusted %v", o.Is(horde.RoleTrusted), v.Paused, tt.trusted)
			}
			spendable, escrow := tt.credit/2, tt.credit/2
			if tt.trusted {
				spendable, escrow = tt.credit, 0
			}
			if o.Kudos != horde.Whole(100)+spendable || o.Escrow != escrow || o.Details.Accumulated != spendable {
				t.Errorf("the owner has %v and %v in escrow, accumulated %v; want %v more and %v", o.Kudos, o.Escrow, o.Details.Accumulated, spendable, escrow)
			}
			w.check()
		})
	}
}

func TestConfigure(t *testing.T) {
	w := newWorld(t)
	wantRC(t, w.Configure(w.ctx, w.person("alice", 0, horde.RoleModerator), Config{TrustThreshold: 5}), horde.RCNotAdmin)
	wantRC(t, w.Configure(w.ctx, 1, Config{TrustThreshold: -5}), horde.RCBadRequest)
	wantRC(t, w.Configure(w.ctx, 1, Config{TrustThreshold: 5}), "")
	if got := w.Config().TrustThreshold; got != 5 {
		t.Errorf("threshold is %v, want 0.05", got)
	}
}

func TestAccountsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for a := AccountTax; a < accountEnd; a++ {
		if n := a.String(); seen[n] || n == "" || n[len(n)-1] == ')' {
			t.Errorf("account %d is called %q", uint8(a), n)
		}
		seen[a.String()] = true
	}
	if got := accountEnd.String(); got != "account(13)" {
		t.Errorf("an unknown account is called %q", got)
	}
}
