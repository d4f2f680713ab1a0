package ledger

import (
	"testing"

	"hordenode/internal/horde"
)

// BenchmarkApplyTransfers applies batches of 64 transfers between 1,000 users, one batch
// per entry; an op is one transfer.
func BenchmarkApplyTransfers(b *testing.B) {
	const users, size = 1000, 64
	w := newWorld(b)
	first := w.person("u", 1e12, 0)
	for range users - 1 {
		w.person("u", 1e12, 0)
	}
	half := horde.UserID(users / 2) // the first half sends, the second receives: no cooldown
	var proposals [][]byte
	for range b.N/size + 1 {
		var cmds [][]byte
		for range size {
			i := w.rnd.Uint64()
			from := first + horde.UserID(i%uint64(half))
			to := first + half + horde.UserID(i/1000%uint64(half))
			cmds = append(cmds, encodeCommand(kindTransfer, newTransfer(Transfer{From: from, To: to, Amount: 1})))
		}
		proposals = append(proposals, w.batch(cmds...))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i, p := range proposals {
		w.now += 2 // a batch each 2 ms is within the default rate
		if _, err := w.apply(p); err != nil {
			b.Fatal(err)
		}
		if i%256 == 0 { // the write-behind of a node
			w.m.Changes()
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transfers/s")
	w.check()
	if got, want := w.Totals().Moved, horde.Kudos(len(proposals)*size); got != want {
		b.Fatalf("moved %v, want %v", got, want)
	}
}

// BenchmarkApplySettlements admits requests of one slot, settles and finishes them, in
// batches of 66 commands; an op is one request.
func BenchmarkApplySettlements(b *testing.B) {
	const size = 22
	w := newWorld(b)
	payer := w.person("payer", 1e14, 0)
	worker := w.worker(w.person("owner", 0, 0), horde.KindImage, "worker")
	var proposals [][]byte
	for range b.N/size + 1 {
		var cmds [][]byte
		for range size {
			id := w.request()
			cmds = append(cmds,
				w.EncodeAdmission(horde.Admission{Request: id, Payer: payer, Slots: 1, Tax: 300, Upfront: 1000, Deadline: moment(w.now + 3_600_000)}),
				w.EncodeSettlement(horde.Settlement{Request: id, Worker: worker, Debit: 1100, Credit: 1000, Things: 1 << 20}),
				w.EncodeFinish(horde.Finish{Request: id}),
			)
		}
		proposals = append(proposals, w.batch(cmds...))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i, p := range proposals {
		w.now += 2 // a batch each 2 ms is within the default rate
		if _, err := w.apply(p); err != nil {
			b.Fatal(err)
		}
		if i%256 == 0 {
			w.m.Changes()
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	w.check()
	if got, want := w.Totals().Settled, int64(len(proposals)*size); got != want {
		b.Fatalf("settled %v, want %v", got, want)
	}
}
