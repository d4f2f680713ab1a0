package ledger

import (
	"time"

	"hordenode/internal/horde"
)

// Monthly kudos (spec/kudos.md section 9.4) are granted by ticks, in runs that are an hour
// of ledger time apart. A run pays each user who is due one month, so whoever missed k
// months gets k grants over k runs, and the next month begins where the last one ended.
const (
	monthlyEvery     = int64(time.Hour / time.Millisecond)
	moderatorMonthly = horde.Kudos(300_000_00)
)

// entitled is what a user gets each month.
func (u *user) entitled(now int64) horde.Kudos {
	sum := u.Monthly + u.patronage(now)
	if u.is(horde.RoleModerator) {
		sum += moderatorMonthly
	}
	return sum
}

// monthly makes the run that is due, if one is. The order of users does not matter: each
// grant touches its own user and sums.
func (tx *tx) monthly() error {
	last := tx.activity.get(unit{}).MonthlyRun
	if last != 0 && tx.now-last < monthlyEvery {
		return nil
	}
	tx.activity.edit(unit{}).MonthlyRun = tx.now
	if last == 0 { // the first tick begins the first hour
		return nil
	}
	var due []horde.UserID
	tx.users.all(func(id horde.UserID, u *user) bool {
		amount := u.entitled(tx.now)
		if amount > 0 && id != horde.Anonymous && !u.Wiped && u.Kudos <= maxBalance-amount &&
			(u.MonthlyLast == 0 || tx.now > monthAfter(u.MonthlyLast)) {
			due = append(due, id)
		}
		return true
	})
	for _, id := range due {
		u := tx.users.edit(id)
		if u.MonthlyLast == 0 {
			u.MonthlyLast = tx.now
		} else {
			u.MonthlyLast = monthAfter(u.MonthlyLast)
		}
		amount := u.entitled(tx.now)
		tx.because(ReasonMonthly)
		if err := tx.post(spendable(id, actionRecurring, amount), system(AccountRecurring, -amount)); err != nil {
			return err
		}
	}
	return nil
}

// monthAfter is the same time of the next calendar month, UTC, on its last day if it is
// too short.
func monthAfter(ms int64) int64 {
	t := time.UnixMilli(ms).UTC()
	next := t.AddDate(0, 1, 0)
	if next.Day() != t.Day() { // it ran into the month after
		next = next.AddDate(0, 0, -next.Day())
	}
	return next.UnixMilli()
}
