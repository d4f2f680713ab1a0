package ledger

import (
	"time"
	"unicode/utf8"

	"hordenode/internal/horde"
)

const founderUser horde.UserID = 1

const (
	defaultConcurrency   = 30
	anonymousConcurrency = 500
	maxUserName          = 30   // characters (spec/accounts.md section 3.2)
	maxText              = 4096 // bytes of any free text, after api's escaping
	suspiciousFrom       = 5    // suspicions (spec/moderation.md section 11)

	trustAge  = int64(7 * 24 * time.Hour / time.Millisecond)
	wipeAfter = int64(30 * 24 * time.Hour / time.Millisecond)

	// memberRoles may be given at creation or by PUT /users; the others have their own rules.
	memberRoles = horde.RoleModerator | horde.RoleTrusted | horde.RoleFlagged | horde.RoleCustomizer | horde.RoleVPN |
		horde.RoleSpecial | horde.RoleService | horde.RoleEducation | horde.RoleAdmin
)

// A Suspicion is why a worker or user is suspected (spec/moderation.md section 11).
type Suspicion uint8

// The suspicions. The values are stored: never renumber.
const (
	SuspicionWorkerNameLong Suspicion = iota
	SuspicionWorkerNameExtreme
	SuspicionWorkerProfanity
	SuspicionUnsafeIP
	SuspicionExtremePixels
	SuspicionUnreasonablyFast
	SuspicionUserNameLong
	SuspicionUserNameProfanity
	SuspicionCorruptPrompt
	SuspicionTooManyAborts

	suspicions = 16 // room in the rows; its size is part of their encoding
)

// repeats tells whether the suspicion adds up; the others count once per subject.
func (s Suspicion) repeats() bool {
	return s == SuspicionUnreasonablyFast || s == SuspicionTooManyAborts
}

func total(counts [suspicions]uint32) int {
	n := 0
	for _, c := range counts {
		n += int(c)
	}
	return n
}

func newUser(name string, class horde.Class, now int64) user {
	return user{
		Name: name, Class: class, Concurrency: defaultConcurrency, UsagePermille: 1000,
		Created: now, LastActive: now,
	}
}

func checkName(name string) error {
	if utf8.RuneCountInString(name) > maxUserName {
		return horde.Refuse(horde.RCTooLongUserName, "A user name has at most %d characters.", maxUserName)
	}
	return nil
}

func userNotFound(id horde.UserID) error {
	return horde.Refuse(horde.RCUserNotFound, "There is no user with id %d.", id)
}

// addUser gives the next id to u.
func (tx *tx) addUser(u user) horde.UserID {
	m := tx.meta.edit(unit{})
	id := m.NextUser
	m.NextUser++
	tx.users.put(id, u)
	tx.keys.put(u.Key, id)
	if u.Login != (digest{}) {
		tx.logins.put(u.Login, id)
	}
	return id
}

// rekey replaces the user's API key.
func (tx *tx) rekey(id horde.UserID, key digest) {
	tx.authority++
	u := tx.users.edit(id)
	tx.keys.remove(u.Key)
	u.Key = key
	tx.keys.put(key, id)
}

// createUser opens an account.
type createUser struct {
	Name  string      `cbor:"1,keyasint,omitempty"`
	Class horde.Class `cbor:"2,keyasint"`
	Key   digest      `cbor:"3,keyasint"`
	Login digest      `cbor:"4,keyasint,omitzero"`
	Roles horde.Roles `cbor:"5,keyasint,omitempty"` // given by the node's operator
	Kudos horde.Kudos `cbor:"6,keyasint,omitempty"` // likewise
}

func (c *createUser) apply(tx *tx) ([]byte, error) {
	if err := checkName(c.Name); err != nil {
		return nil, err
	}
	switch {
	case c.Class != horde.ClassPseudonymous && c.Class != horde.ClassRegistered, c.Key == digest{}, c.Roles&^memberRoles != 0, !amountInRange(c.Kudos):
		return nil, horde.Refuse(horde.RCBadRequest, "Such an account cannot be made.")
	case tx.keys.has(c.Key), c.Login != digest{} && tx.logins.has(c.Login):
		return nil, horde.Refuse(horde.RCBadRequest, "There is an account with this key or login already.")
	}
	u := newUser(c.Name, c.Class, tx.now)
	u.Roles, u.Key, u.Login = c.Roles, c.Key, c.Login
	if u.is(horde.RoleModerator) {
		u.Roles |= horde.RoleTrusted
	}
	id := tx.addUser(u)
	tx.alone(c.Kudos)
	tx.because(ReasonAdmin)
	if err := tx.post(spendable(id, actionAdmin, c.Kudos), system(AccountAdmin, -c.Kudos)); err != nil {
		return nil, err
	}
	return tx.userData(id), nil
}

// rotateKey replaces a user's API key; the old one is invalid at once.
type rotateKey struct {
	User horde.UserID `cbor:"1,keyasint"`
	Key  digest       `cbor:"2,keyasint"`
}

func (c *rotateKey) apply(tx *tx) ([]byte, error) {
	switch {
	case tx.user(c.User) == nil:
		return nil, userNotFound(c.User)
	case c.User == horde.Anonymous:
		return nil, horde.Refuse(horde.RCAnonForbiddenUser, "The anonymous key is everybody's and stays.")
	case c.Key == digest{} || tx.keys.has(c.Key):
		return nil, horde.Refuse(horde.RCBadRequest, "This key cannot be used.")
	}
	tx.rekey(c.User, c.Key)
	return nil, nil
}

// testUser makes or resets an account for tests: new key, balance and roles as given. The
// first one of a fresh federation takes over the founder's account, which stays admin.
type testUser struct {
	Name      string      `cbor:"1,keyasint,omitempty"`
	Login     digest      `cbor:"2,keyasint"`
	Key       digest      `cbor:"3,keyasint"`
	Moderator bool        `cbor:"4,keyasint,omitempty"`
	Trusted   bool        `cbor:"5,keyasint,omitempty"`
	Kudos     horde.Kudos `cbor:"6,keyasint,omitempty"` // the balance afterwards, but never below the floor
	Pseudonym bool        `cbor:"7,keyasint,omitempty"` // a new account is pseudonymous
}

// testUserResult is the data of its result.
type testUserResult struct {
	Row     userRow `cbor:"1,keyasint"`
	Created bool    `cbor:"2,keyasint,omitempty"`
}

func (c *testUser) apply(tx *tx) ([]byte, error) {
	if err := checkName(c.Name); err != nil {
		return nil, err
	}
	if c.Login == (digest{}) || c.Key == (digest{}) || tx.keys.has(c.Key) || c.Kudos > maxAmount || c.Kudos < -maxAmount {
		return nil, horde.Refuse(horde.RCBadRequest, "Such a test account cannot be made.")
	}
	var id horde.UserID
	created := true
	if known := tx.logins.get(c.Login); known != nil {
		id, created = *known, false
		tx.rekey(id, c.Key)
	} else if m := tx.meta.get(unit{}); !m.Adopted && m.NextUser == founderUser+1 && tx.users.get(founderUser).Login == (digest{}) {
		id = founderUser
		tx.meta.edit(unit{}).Adopted = true
		tx.users.edit(id).Login = c.Login
		tx.logins.put(c.Login, id)
		tx.rekey(id, c.Key)
	} else {
		class := horde.ClassRegistered
		if c.Pseudonym {
			class = horde.ClassPseudonymous
		}
		u := newUser(c.Name, class, tx.now)
		u.Key, u.Login = c.Key, c.Login
		id = tx.addUser(u)
	}
	u := tx.users.edit(id)
	u.Name = c.Name
	if created { // one that was there keeps its roles
		trusted := c.Trusted || c.Moderator
		u.Roles = u.Roles.With(horde.RoleModerator, c.Moderator).With(horde.RoleTrusted, trusted)
		if trusted {
			if err := tx.trust(id); err != nil {
				return nil, err
			}
		}
	}
	delta := c.Kudos - u.Kudos
	tx.alone(delta)
	tx.because(ReasonTest)
	if err := tx.post(spendable(id, actionNone, delta), system(AccountTest, -delta)); err != nil {
		return nil, err
	}
	return encode(testUserResult{userRow{id, *tx.users.get(id), len(tx.workersOf(id))}, created}), nil
}

// trust makes a user trusted: the workers are unpaused and the escrow becomes spendable.
func (tx *tx) trust(id horde.UserID) error {
	u := tx.users.edit(id)
	u.Roles |= horde.RoleTrusted
	for _, w := range tx.workersOf(id) {
		if tx.workers.get(w).Paused {
			tx.workers.edit(w).Paused = false
		}
	}
	e := u.Escrow
	tx.because(ReasonTrust)
	return tx.post(escrow(id, -e), spendable(id, actionAccumulated, e))
}

// considerTrust makes a user trusted who has earned it (spec/kudos.md section 11).
func (tx *tx) considerTrust(id horde.UserID) error {
	threshold := tx.meta.get(unit{}).Config.TrustThreshold
	u := tx.users.get(id)
	if threshold <= 0 || u.Escrow <= threshold || id == horde.Anonymous || u.is(horde.RoleTrusted) ||
		u.suspicious() || tx.now-u.Created < trustAge {
		return nil
	}
	return tx.trust(id)
}

// deleteUser marks an account deleted; a second time, a month after it was last active, it
// wipes it (spec/accounts.md section 3.4).
type deleteUser struct {
	Actor  horde.UserID `cbor:"1,keyasint"`
	Target horde.UserID `cbor:"2,keyasint"`
	Reason string       `cbor:"3,keyasint,omitempty"` // for the moderation log
}

func (c *deleteUser) apply(tx *tx) ([]byte, error) {
	u, actor := tx.user(c.Target), tx.user(c.Actor)
	switch {
	case u == nil:
		return nil, userNotFound(c.Target)
	case actor == nil:
		return nil, horde.Refuse(horde.RCInvalidAPIKey, "The acting account is gone.")
	case c.Actor == horde.Anonymous:
		return nil, horde.Refuse(horde.RCAnonForbiddenUser, "Anonymous cannot delete accounts.")
	case u.is(horde.RoleModerator):
		return nil, horde.Refuse(horde.RCCannotDeleteMod, "A moderator's account cannot be deleted.")
	case !actor.is(horde.RoleModerator) && c.Actor != c.Target:
		return nil, horde.Refuse(horde.RCNotUserOrMod, "Only the user or a moderator may delete an account.")
	case c.Target == horde.Anonymous:
		return nil, nil
	case !u.is(horde.RoleDeleted):
		tx.users.edit(c.Target).Roles |= horde.RoleDeleted
		tx.bar(c.Target)
		return nil, nil
	case tx.now-u.LastActive < wipeAfter:
		return nil, horde.Refuse(horde.RCCannotWipeActiveUser, "An account is wiped no sooner than 30 days after it was last active.")
	}
	for _, w := range append([]horde.WorkerID(nil), tx.workersOf(c.Target)...) {
		tx.buryWorker(w)
	}
	for _, k := range tx.sharedKeysOf(c.Target) {
		tx.dropSharedKey(k)
	}
	w := tx.users.edit(c.Target)
	tx.keys.remove(w.Key)
	tx.logins.remove(w.Login)
	tx.passkeys.remove(w.Passkey)
	tx.bar(c.Target)
	w.Name, w.Contact, w.AdminComment = "<wiped>", "", ""
	w.Key, w.Login, w.Passkey, w.Wiped = digest{}, digest{}, digest{}, true
	w.Patron, w.PatronUntil = 0, 0
	tx.forgetBefore(c.Target)
	return nil, nil
}

// suspect records a suspicion against a worker and its owner, or against a user.
type suspect struct {
	Reason Suspicion      `cbor:"1,keyasint"`
	Worker horde.WorkerID `cbor:"2,keyasint"` // zero: User is meant
	User   horde.UserID   `cbor:"3,keyasint,omitempty"`
}

func (c *suspect) apply(tx *tx) ([]byte, error) {
	switch {
	case int(c.Reason) >= suspicions:
		return nil, horde.Refuse(horde.RCBadRequest, "There is no such reason for suspicion.")
	case !c.Worker.IsZero():
		if tx.worker(c.Worker) == nil {
			return nil, workerNotFound()
		}
		tx.suspectWorker(c.Worker, c.Reason)
	case tx.user(c.User) == nil:
		return nil, userNotFound(c.User)
	default:
		tx.suspectUser(c.User, c.Reason)
	}
	return nil, nil
}

func (tx *tx) suspectUser(id horde.UserID, why Suspicion) {
	if u := tx.users.get(id); id == horde.Anonymous || u.Suspicions[why] > 0 && !why.repeats() {
		return
	}
	tx.users.edit(id).Suspicions[why]++
}

// suspectWorker records a suspicion against a worker and its owner; five of them pause the
// worker of an untrusted owner.
func (tx *tx) suspectWorker(id horde.WorkerID, why Suspicion) {
	w := tx.workers.edit(id)
	if w.Owner == horde.Anonymous {
		return
	}
	if w.Suspicions[why] == 0 || why.repeats() {
		w.Suspicions[why]++
	}
	tx.suspectUser(w.Owner, why)
	if total(w.Suspicions) >= suspiciousFrom && !tx.users.get(w.Owner).is(horde.RoleTrusted) {
		w.Paused = true
	}
}
