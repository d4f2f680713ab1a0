package exchange

import (
	"errors"
	"testing"

	"hordenode/internal/horde"
)

// FuzzDecode feeds every decoder of what other nodes send: none may panic, and what is
// taken must be within bounds.
func FuzzDecode(f *testing.F) {
	tag := horde.NodeID("a").Tag()
	id := horde.RequestID{UUID: horde.UUID{tag[0], tag[1], tag[2], tag[3], tag[4], tag[5], 15: 1}}
	offer := horde.Offer{ID: id, Rev: 1, Open: 1, Shape: horde.Shape{Kind: horde.KindText, Models: []string{"m"}}}
	for _, v := range []any{
		batch{Boot: 1, Seq: 1, Offers: []horde.Offer{offer}, Closed: []closed{{ID: id, Rev: 2}}},
		news{Boot: 1, Seq: 1, Beacon: &beacon{}, Workers: []workerRecord{{Rev: 1, By: "a", LiveWorker: horde.LiveWorker{ID: horde.WorkerID(id)}}}},
		horde.Claim{Worker: horde.WorkerID(id), Amount: 1, Want: []horde.RequestID{id}},
		jobRequest{Op: opSubmit, Submission: &horde.Submission{Job: horde.JobID(id)}},
		syncRequest{Subject: 1}, syncResponse{Boot: 1}, blobRequest{Name: id.String()},
	} {
		b, err := encode(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := decodeBatch(data, horde.KindText, func(t horde.HomeTag) bool { return t == tag }); err == nil {
			for _, o := range b.Offers {
				if o.ID.Home() != tag || o.Open <= 0 || o.Open > maxOpen || o.Shape.Kind != horde.KindText {
					t.Errorf("took offer %+v", o)
				}
			}
		} else if !errors.Is(err, errInvalid) {
			t.Errorf("decodeBatch = %v, want an invalid message", err)
		}
		if n, err := decodeNews(data); err == nil {
			for _, w := range n.Workers {
				if w.Samples < 0 || w.Samples > maxSamples || w.Speed < 0 || w.Speed != w.Speed {
					t.Errorf("took worker %+v", w)
				}
			}
		}
		if c, err := decode[horde.Claim](data); err == nil && checkClaim(c) == nil && (len(c.Want) > maxWant || c.Amount < 1) {
			t.Errorf("took claim %+v", c)
		}
		for _, err := range []error{
			failure(decode[jobRequest](data)), failure(decode[jobResponse](data)), failure(decode[claimResponse](data)),
			failure(decode[syncRequest](data)), failure(decode[syncResponse](data)), failure(decode[blobRequest](data)),
		} {
			if err != nil && !errors.Is(err, errInvalid) {
				t.Errorf("decode = %v, want an invalid message", err)
			}
		}
	})
}
