package ledger

import (
	"time"

	"hordenode/internal/horde"
)

const (
	dropMaintenance = "This worker was put in maintenance mode by the horde because it dropped too many jobs. " +
		"Please check that it can finish the jobs it accepts, then end the maintenance mode."

	abortWindow = int64(time.Hour / time.Millisecond)
	rewardEvery = int64(600 * time.Second / time.Millisecond)
	mostUptime  = int64(24 * 60 * 60) // seconds in one report
	abortsPlain = 20                  // more of them in a window have consequences
	abortsRaid  = 10
	abortsForms = 100 // alchemists
)

// abort is a horde.Abort on its way.
type abort horde.Abort

// apply counts an undelivered job (spec/status.md section 7.1).
func (c *abort) apply(tx *tx) ([]byte, error) {
	if err := tx.notHome(c.Request.Home()); err != nil {
		return nil, err
	}
	if tx.worker(c.Worker) == nil {
		return nil, workerNotFound()
	}
	w := tx.workers.edit(c.Worker)
	if tx.now-w.AbortsSince > abortWindow {
		w.AbortsSince, w.Aborts = tx.now, 0
	}
	w.Aborts++
	w.Uncompleted++
	raid := tx.modes.get(unit{}).Raid
	limit := abortsPlain
	switch {
	case w.Kind == horde.KindAlchemy:
		limit = abortsForms
	case raid:
		limit = abortsRaid
	}
	if w.Aborts <= limit {
		return nil, nil
	}
	w.Aborts = 0
	if !raid {
		w.Maintenance, w.MaintenanceMsg = true, dropMaintenance
	}
	tx.suspectWorker(c.Worker, SuspicionTooManyAborts)
	return nil, nil
}

// uptime is a horde.Uptime on its way.
type uptime horde.Uptime

// apply adds to a worker's uptime and pays the reward, if 600 s have passed since the last
// one (spec/kudos.md section 6). A reward that comes too early is lost, as excess uptime is.
func (c *uptime) apply(tx *tx) ([]byte, error) {
	w := tx.worker(c.Worker)
	switch {
	case w == nil:
		return nil, workerNotFound()
	case c.Seconds < 0 || c.Seconds > mostUptime || !amountInRange(c.Reward):
		return nil, horde.Refuse(horde.RCBadRequest, "Such an uptime cannot be.")
	case w.Maintenance || w.Paused:
		return nil, horde.Refuse(horde.RCWorkerMaintenance, "A worker in maintenance mode or paused earns no uptime.")
	}
	w = tx.workers.edit(c.Worker)
	w.Uptime += c.Seconds
	if t := tx.teams.edit(w.Team); t != nil {
		t.Uptime += c.Seconds
	}
	if c.Reward == 0 || w.RewardedAt != 0 && tx.now-w.RewardedAt < rewardEvery {
		return nil, nil
	}
	w.RewardedAt = tx.now
	w.UptimeKudos += c.Reward
	tx.alone(c.Reward)
	tx.because(ReasonUptime)
	if w.Owner == horde.Anonymous || tx.users.get(w.Owner).is(horde.RoleTrusted) || w.Kind == horde.KindAlchemy {
		return nil, tx.post(spendable(w.Owner, actionAccumulated, c.Reward), system(AccountUptime, -c.Reward))
	}
	if err := tx.post(escrow(w.Owner, c.Reward), system(AccountUptime, -c.Reward)); err != nil {
		return nil, err
	}
	return nil, tx.considerTrust(w.Owner)
}
