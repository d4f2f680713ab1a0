package horde

// Totals are the finished jobs of images and of texts, by kind (KindImage, KindText).
type Totals [2]KindTotals

// KindTotals are the finished jobs of one kind in the last minute, hour, day and month (30
// days), and since the beginning. What has just left a window may still be counted for a
// sixtieth of it, of a day for an hour and of a month for a day.
type KindTotals struct {
	Minute Work `cbor:"1,keyasint"`
	Hour   Work `cbor:"2,keyasint"`
	Day    Work `cbor:"3,keyasint"`
	Month  Work `cbor:"4,keyasint"`
	Total  Work `cbor:"5,keyasint"`

	Models []ModelTotals `cbor:"6,keyasint,omitempty"` // by name
}

// Work is finished jobs and what was asked for in them: pixelsteps, tokens.
type Work struct {
	Jobs   int64 `cbor:"1,keyasint,omitempty"`
	Things int64 `cbor:"2,keyasint,omitempty"`
}

// Plus adds two pieces of work.
func (w Work) Plus(x Work) Work { return Work{w.Jobs + x.Jobs, w.Things + x.Things} }

// ModelTotals are the finished jobs of one model.
type ModelTotals struct {
	Name  string `cbor:"1,keyasint"`
	Day   int64  `cbor:"2,keyasint,omitempty"`
	Month int64  `cbor:"3,keyasint,omitempty"`
	Total int64  `cbor:"4,keyasint,omitempty"`
}
