package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"hordenode/internal/horde"
)

const (
	defaultCommandRate = 50_000    // commands per second of one member
	maxCommandRate     = 1_000_000 // so that no product of times and rates overflows
	burst              = 4         // seconds' worth of commands that may come at once
	dayMillis          = int64(24 * time.Hour / time.Millisecond)
)

// A quota is what a member has used of its limits. It is brought up to date by batches of
// that member only, from ledger time, so it is the same on every node and does not depend
// on how commands are packed into batches.
type quota struct {
	At     int64       `cbor:"1,keyasint,omitempty"` // when Tokens was computed
	Tokens int64       `cbor:"2,keyasint,omitempty"` // thousandths of commands that may still come
	Day    int64       `cbor:"3,keyasint,omitempty"` // of ledger time, counted from 1970
	Kudos  horde.Kudos `cbor:"4,keyasint,omitempty"` // made or moved that day on the member's word alone
}

// rate is how many commands per second a member may send; 0: any number.
func (c *Config) rate() int64 {
	switch {
	case c.CommandRate == 0:
		return defaultCommandRate
	case c.CommandRate < 0:
		return 0
	}
	return int64(c.CommandRate)
}

func (c *Config) check() error {
	if !amountInRange(c.TrustThreshold) || !amountInRange(c.DailyKudos) || c.CommandRate > maxCommandRate ||
		c.Shards < 0 || c.Shards > MaxShards {
		return horde.Refuse(horde.RCBadRequest, "A value of the configuration is out of range.")
	}
	for _, h := range []string{c.ImageModels, c.TextModels, c.ImagePrices} {
		if !isContentHash(h) {
			return horde.Refuse(horde.RCBadRequest, "Content is named by its SHA-256, in 64 lower-case hexadecimal digits.")
		}
	}
	return nil
}

// isContentHash tells whether h is empty or a SHA-256 in hex.
func isContentHash(h string) bool {
	if h == "" {
		return true
	}
	raw, err := hex.DecodeString(h)
	return err == nil && len(raw) == 32 && hex.EncodeToString(raw) == h
}

// renew lets time pass: the bucket fills, a new day begins.
func (q *quota) renew(now, rate int64) {
	if full := burst * rate * 1000; q.At == 0 {
		q.Tokens = full
	} else {
		passed := min(now-q.At, burst*1000)
		q.Tokens = min(q.Tokens+passed*rate, full)
	}
	q.At = now
	if day := now / dayMillis; q.Day != day {
		q.Day, q.Kudos = day, 0
	}
}

// take takes one command out of the bucket, if there is one.
func (q *quota) take(rate int64) bool {
	if rate == 0 {
		return true
	}
	if q.Tokens < 1000 {
		return false
	}
	q.Tokens -= 1000
	return true
}

// admit tells whether the sender may have one more command looked at, and counts it.
func (tx *tx) admit() bool {
	rate := tx.config().rate()
	tx.used.renew(tx.now, rate)
	return tx.used.take(rate)
}

// config returns the Config as it is now. The row stays where it is, so it is looked up
// once for a batch.
func (tx *tx) config() *Config {
	if tx.cfg != nil {
		return tx.cfg
	}
	m := tx.meta.get(unit{})
	if m == nil {
		return &Config{}
	}
	tx.cfg = &m.Config
	return tx.cfg
}

// tooFast answers a command that was not even looked at.
func tooFast(durable bool) Result {
	return Result{
		RC: horde.RCUnavailable, Again: durable,
		Msg: "This node sends more changes than the federation allows. Please try again in a moment.",
	}
}

// account adds what the command did alone to the sender's day, or refuses it. A refusal is
// final for a durable command too: its kudos are not paid.
func (tx *tx) account() error {
	if limit := tx.config().DailyKudos; limit > 0 && tx.minted > 0 && tx.used.Kudos+tx.minted > limit {
		return horde.Refuse(horde.RCUnavailable, "This node has accounted for as many kudos today as the federation allows. Please try again tomorrow.")
	}
	tx.used.Kudos = min(tx.used.Kudos+tx.minted, maxBalance)
	return nil
}

// alone counts kudos that are made, or that move, on the word of the command's origin
// alone: no other member had a part in it that the ledger could see.
func (tx *tx) alone(amount horde.Kudos) {
	if amount > 0 {
		tx.minted = min(tx.minted+amount, maxBalance)
	}
}

// Readable tells why a node of this version could not apply a proposal: it has a command of
// a kind or version that the node does not know. A leader that asks before it proposes
// keeps such a command out of the log; applying it would stop the node.
func Readable(proposal []byte) error {
	_, b, err := openBatch(proposal)
	if err != nil {
		return nil // refused when it is applied
	}
	for i, c := range b.Commands {
		k, _, err := splitCommand(c.Data)
		if err == nil {
			_, err = newCommand(k)
		}
		if err != nil && !errors.Is(err, errMalformed) {
			return fmt.Errorf("command %d of %s: %w", i, b.Origin, err)
		}
	}
	return nil
}
