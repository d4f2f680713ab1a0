package load

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// The plot, in pixels.
const (
	plotWidth, plotHeight                    = 760, 420
	plotLeft, plotRight, plotTop, plotBottom = 70, 190, 40, 50
)

// A colour for each number of models, a dash for each number of workers.
var (
	plotColours = []string{"#0b6e4f", "#c05621", "#3b4cc0", "#777777"}
	plotDashes  = []string{"", "6 4", "2 3"}
)

// SVG draws pops a second over the length of the queue, which has a logarithmic axis: a line
// for each number of workers and of models.
func (g Growth) SVG(w io.Writer) error {
	least, most, top := math.Inf(1), 0.0, 0.0
	for _, p := range g.Points {
		least, most, top = min(least, float64(p.Queue)), max(most, float64(p.Queue)), max(top, p.Rate)
	}
	if most == 0 || top == 0 {
		return fmt.Errorf("nothing to draw in %d points", len(g.Points))
	}
	top = niceTop(top)
	x := func(queue int) float64 {
		span := math.Log10(most / least)
		if span == 0 {
			span = 1
		}
		return plotLeft + (plotWidth-plotLeft-plotRight)*math.Log10(float64(queue)/least)/span
	}
	y := func(rate float64) float64 { return plotHeight - plotBottom - (plotHeight-plotTop-plotBottom)*rate/top }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="22" font-size="14">Pops a second by requests waiting, one node</text>`+"\n", plotLeft)
	for i := range 6 {
		rate := top * float64(i) / 5
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, plotWidth-plotRight, y(rate), y(rate), plotLeft-6, y(rate)+4, figure(rate))
	}
	for q := least; q <= most*1.001; q *= 10 {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(int(q)), plotHeight-plotBottom+18, figure(q))
	}
	line := 0
	for mi, models := range append(append([]int{}, GrowthModels...), 0) {
		for wi, workers := range GrowthWorkers {
			var path []string
			for _, p := range g.Points {
				if p.Models == models && p.Workers == workers {
					path = append(path, fmt.Sprintf("%.1f,%.1f", x(p.Queue), y(p.Rate)))
				}
			}
			if len(path) == 0 {
				continue
			}
			stroke := fmt.Sprintf(`stroke="%s" stroke-width="2" stroke-dasharray="%s"`, plotColours[mi%len(plotColours)], plotDashes[wi%len(plotDashes)])
			name := fmt.Sprintf("%d workers, %d models", workers, models)
			if models == 0 {
				name = fmt.Sprintf("%d workers, nothing fits", workers)
			}
			at := plotTop + 18*line
			line++
			fmt.Fprintf(&b, `<polyline fill="none" %s points="%s"/>`+"\n", stroke, strings.Join(path, " "))
			fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%d" y2="%d" %s/><text x="%d" y="%d">%s</text>`+"\n",
				plotWidth-plotRight+10, plotWidth-plotRight+36, at, at, stroke, plotWidth-plotRight+42, at+4, name)
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// niceTop is a round number not below v.
func niceTop(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 2.5, 5, 10} {
		if f*unit >= v {
			return f * unit
		}
	}
	return 10 * unit
}
