package pricing

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"hordenode/internal/horde"
)

// A Published is one row of a table of prices: a payload with defaults applied, and what it
// costs.
type Published struct {
	Image  Image
	Kudos  horde.Kudos // base price of one job
	Debit  float64     // what its payer pays, multiplier 1, slow workers allowed; 0: not told
	Things int64       // pixelsteps; 0: not told
}

// PublishedColumns are the columns that a table of prices has at least.
var PublishedColumns = []string{
	"width", "height", "steps", "cfg_scale", "sampler_name", "karras", "hires_fix", "source_image", "source_mask",
	"source_processing", "denoising_strength", "control_type", "return_control_map", "post_processing", "loras", "tis", "kudos",
}

// ReadPublished reads a table of prices. Its columns are found by the names in its first
// line; an empty cell is a field that the client did not send.
func ReadPublished(r io.Reader) ([]Published, error) {
	records, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read prices: %w", err)
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("read prices: no header")
	}
	columns := map[string]int{}
	for i, name := range records[0] {
		columns[name] = i
	}
	for _, name := range PublishedColumns {
		if _, ok := columns[name]; !ok {
			return nil, fmt.Errorf("read prices: column %s is missing", name)
		}
	}
	out := make([]Published, 0, len(records)-1)
	for n, record := range records[1:] {
		c := cells{record: record, columns: columns}
		out = append(out, c.published())
		if c.err != nil {
			return nil, fmt.Errorf("read prices: line %d: %w", n+2, c.err)
		}
	}
	return out, nil
}

// cells are one line of a table; the first error sticks.
type cells struct {
	record  []string
	columns map[string]int
	err     error
}

func (c *cells) str(name string) string {
	if i, ok := c.columns[name]; ok {
		return c.record[i]
	}
	return ""
}

func (c *cells) number(name string, def float64) float64 {
	s := c.str(name)
	if s == "" {
		return def
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && c.err == nil {
		c.err = err
	}
	return f
}

func (c *cells) flag(name string, def bool) bool {
	if s := c.str(name); s != "" {
		return s == "true"
	}
	return def
}

// published applies the defaults of the API.
func (c *cells) published() Published {
	i := ImageDefaults()
	i.ControlType = c.str("control_type")
	if i.ControlType != "" {
		i.Steps = 20
	}
	i.Width = int(c.number("width", float64(i.Width)))
	i.Height = int(c.number("height", float64(i.Height)))
	i.Steps = int(c.number("steps", float64(i.Steps)))
	if i.ControlType != "" {
		i.Steps = min(i.Steps, 40)
	}
	i.CFG = c.number("cfg_scale", i.CFG)
	if s := c.str("sampler_name"); s != "" {
		i.Sampler = s
	}
	i.Karras = c.flag("karras", i.Karras)
	i.HiresFix = c.flag("hires_fix", false)
	i.Source = c.flag("source_image", false)
	i.Mask = c.flag("source_mask", false)
	i.Processing = c.str("source_processing")
	i.Denoise = c.number("denoising_strength", 1)
	i.ReturnControlMap = c.flag("return_control_map", false)
	if s := c.str("post_processing"); s != "" && s != "[]" {
		i.PostProcessing = strings.Split(s, "|")
	}
	i.LoRAs = make([]LoRA, max(int(c.number("loras", 0)), 0))
	i.TIs = int(c.number("tis", 0))
	return Published{
		Image:  i,
		Kudos:  horde.RoundKudos(c.number("kudos", 0)),
		Debit:  c.number("debit", 0),
		Things: int64(c.number("things", 0)),
	}
}

// Row writes a price as ReadPublished reads it, one cell per entry of PublishedColumns.
func (p Published) Row() []string {
	i := p.Image
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	return []string{
		strconv.Itoa(i.Width), strconv.Itoa(i.Height), strconv.Itoa(i.Steps), number(i.CFG), i.Sampler,
		strconv.FormatBool(i.Karras), strconv.FormatBool(i.HiresFix), strconv.FormatBool(i.Source), strconv.FormatBool(i.Mask),
		i.Processing, number(i.Denoise), i.ControlType, strconv.FormatBool(i.ReturnControlMap),
		strings.Join(i.PostProcessing, "|"), strconv.Itoa(len(i.LoRAs)), strconv.Itoa(i.TIs), number(p.Kudos.Float()),
	}
}

// Plain returns the price without LoRAs and textual inversions, which are charged apart.
func (p Published) Plain() horde.Kudos { return p.Kudos - p.Image.extras() }
