// Command fit makes the image prices of package pricing: it trains small networks on a
// table of published prices, rounds their weights to 16 bits, and says how well they predict
// rows that they have not seen.
//
//	go run ./node/pricing/fit -dir node/pricing
//
// It reads testdata/image_prices.csv and testdata/recorded_prices.csv below dir (columns:
// pricing.PublishedColumns) and writes image.weights (the network) and anchors.csv (prices
// of common payloads, which are charged as published). Rows that are priced by the legacy
// formula are left out. One row in ten is held out, chosen by its payload, and is used for
// the report only. The same input, seed and processor family give the same output. It takes
// some minutes of one core.
package main

import (
	"cmp"
	"encoding/csv"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

func main() {
	dir := flag.String("dir", "node/pricing", "folder of package pricing")
	seed := flag.Uint64("seed", 1, "of the initial weights and the order of rows")
	nets := flag.Int("nets", 3, "how many are trained; the mean of them is the price")
	epochs := flag.Int("epochs", 500, "passes over the rows")
	flag.Parse()
	if err := run(*dir, *seed, *nets, *epochs, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

func run(dir string, seed uint64, nets, epochs int, out io.Writer) error {
	rows, err := readAll(filepath.Join(dir, "testdata", "image_prices.csv"), filepath.Join(dir, "testdata", "recorded_prices.csv"))
	if err != nil {
		return err
	}
	recorded, err := readAll(filepath.Join(dir, "testdata", "recorded_prices.csv"))
	if err != nil {
		return err
	}
	var train, held []row
	for _, r := range rows {
		if r.heldOut() {
			held = append(held, r)
		} else {
			train = append(train, r)
		}
	}
	fmt.Fprintf(out, "%d rows to learn from, %d held out\n", len(train), len(held))

	blob := trainAll(out, seed, nets, epochs, train, held)
	fitted, err := pricing.NewNetwork(blob)
	if err != nil {
		return err
	}
	rounded := func(r row) horde.Kudos { return pricing.KudosOf(fitted.Centiseconds(r.features)) }
	fmt.Fprintf(out, "%d in 16 bits: learned %v, held out %v\n", nets, measure(rounded, train), measure(rounded, held))
	if err := writeAnchors(filepath.Join(dir, "anchors.csv"), rows, recorded, rounded); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "image.weights"), blob, 0o644)
}

// trainAll trains several networks at once and returns them in the form that package pricing
// evaluates.
func trainAll(out io.Writer, seed uint64, nets, epochs int, train, held []row) []byte {
	blobs := make([][]byte, nets)
	var mu sync.Mutex // guards out
	var wg sync.WaitGroup
	for k := range nets {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(k)))
			n := newNet(rnd, 128, 128, 64)
			n.train(rnd, train, epochs, func(epoch int) {
				if epoch%50 == 0 {
					mu.Lock()
					defer mu.Unlock()
					fmt.Fprintf(out, "network %d, epoch %d: learned %v, held out %v\n", k, epoch, measure(n.price, train), measure(n.price, held))
				}
			})
			blobs[k] = n.quantise()
		})
	}
	wg.Wait()
	return slices.Concat(blobs...)
}

// A row is one payload of the tables as the network sees it.
type row struct {
	price    pricing.Published
	features [pricing.Inputs]int32
	in       []float32
	seconds  float32
}

// readAll reads the tables; a payload that occurs twice counts once.
func readAll(paths ...string) ([]row, error) {
	var rows []row
	seen := map[[pricing.Inputs]int32]bool{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		prices, err := pricing.ReadPublished(f)
		if err := cmp.Or(err, f.Close()); err != nil {
			return nil, err
		}
		for _, p := range prices {
			x, ok := pricing.Features(p.Image)
			if !ok || seen[x] {
				continue
			}
			seen[x] = true
			r := row{price: p, features: x, in: make([]float32, len(x)), seconds: float32(p.Plain().Float() * 6.45 / 11)}
			for i, v := range x {
				r.in[i] = float32(v) / pricing.One
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// heldOut chooses one row in ten by its payload, so that a longer table keeps the choice.
func (r row) heldOut() bool {
	h := fnv.New32a()
	for _, v := range r.features {
		fmt.Fprintf(h, "%d,", v)
	}
	return h.Sum32()%10 == 0
}

// common tells whether a payload is one of those that clients send all day: usual sizes and
// settings, at most one extra of a kind.
func (r row) common() bool {
	i := r.price.Image
	size := [2]int{min(i.Width, i.Height), max(i.Width, i.Height)}
	return slices.Contains([][2]int{{512, 512}, {512, 768}, {768, 768}, {768, 1024}, {832, 1216}, {1024, 1024}}, size) &&
		slices.Contains([]float64{1, 1.5, 5, 7, 7.5}, i.CFG) && i.Steps <= 60 && len(i.PostProcessing) <= 2
}

// farOff is the relative error from which on a published price is charged as published,
// however rare its payload.
const farOff = 0.04

// writeAnchors writes the common ones of rows, those that the fit is far from, and all that
// were seen in recorded calls.
func writeAnchors(path string, rows, recorded []row, fitted func(row) horde.Kudos) error {
	records := [][]string{pricing.PublishedColumns}
	for _, r := range recorded {
		records = append(records, r.price.Row())
	}
	isRecorded := func(r row) bool {
		return slices.ContainsFunc(recorded, func(o row) bool { return o.features == r.features })
	}
	for _, r := range rows {
		if (r.common() || measure(fitted, []row{r}).worst > farOff) && !isRecorded(r) {
			records = append(records, r.price.Row())
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return cmp.Or(csv.NewWriter(f).WriteAll(records), f.Close())
}

// An accuracy is how far a network is from the prices of some rows, relatively.
type accuracy struct {
	mean, median, p99, worst float64
	rows                     int
}

func (a accuracy) String() string {
	return fmt.Sprintf("mean %.2f %% median %.2f %% p99 %.2f %% worst %.2f %%", 100*a.mean, 100*a.median, 100*a.p99, 100*a.worst)
}

// measure compares what predict says, without LoRAs and textual inversions, with the rows.
func measure(predict func(row) horde.Kudos, rows []row) accuracy {
	errs := make([]float64, 0, len(rows))
	var sum float64
	for _, r := range rows {
		got := predict(r) + r.price.Kudos - r.price.Plain()
		e := math.Abs(float64(got-r.price.Kudos)) / float64(r.price.Kudos)
		errs = append(errs, e)
		sum += e
	}
	slices.Sort(errs)
	k := len(errs)
	return accuracy{mean: sum / float64(k), median: errs[k/2], p99: errs[k*99/100], worst: errs[k-1], rows: k}
}

// price is what the network predicts, before its weights are rounded.
func (n *net) price(r row) horde.Kudos {
	return pricing.KudosOf(int64(math.Round(float64(n.forward(r.in)) * 100)))
}
