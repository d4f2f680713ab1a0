package ledger

import (
	"errors"
	"fmt"

	"hordenode/internal/horde"
)

// A kind numbers a command for ever: numbers are never reused, and a node that meets one
// that it does not know stops, because others may have applied it.
type kind uint16

const (
	kindGenesis      kind = 1
	kindConfigure    kind = 2
	kindTick         kind = 3
	kindRaiseEpoch   kind = 4
	kindCreateUser   kind = 10
	kindRotateKey    kind = 11
	kindTestUser     kind = 12
	kindUpdateUser   kind = 13
	kindDeleteUser   kind = 14
	kindSuspect      kind = 15
	kindTransfer     kind = 20
	kindAward        kind = 21
	kindAdmission    kind = 30
	kindSettlement   kind = 31
	kindFinish       kind = 32
	kindAbort        kind = 33
	kindUptime       kind = 34
	kindRegister     kind = 40
	kindUpdateWorker kind = 41
	kindDeleteWorker kind = 42
	kindSetModes     kind = 50
	kindAdmitMember  kind = 60
	kindUpdateMember kind = 61
	kindRemoveMember kind = 62

	kindCreateTeam       kind = 70
	kindUpdateTeam       kind = 71
	kindDeleteTeam       kind = 72
	kindCreateSharedKey  kind = 80
	kindUpdateSharedKey  kind = 81
	kindDeleteSharedKey  kind = 82
	kindPostMessage      kind = 90
	kindDeleteMessage    kind = 91
	kindPutFilter        kind = 95
	kindUpdateFilter     kind = 96
	kindDeleteFilter     kind = 97
	kindCreateStyle      kind = 100
	kindUpdateStyle      kind = 101
	kindDeleteStyle      kind = 102
	kindAddExample       kind = 103
	kindUpdateExample    kind = 104
	kindDeleteExample    kind = 105
	kindCreateCollection kind = 110
	kindUpdateCollection kind = 111
	kindDeleteCollection kind = 112

	kindReverse    kind = 120
	kindMergeUsers kind = 121
	kindMoveWorker kind = 122
	kindDiscipline kind = 123
	kindResetKey   kind = 124

	kindRaiseVersion    kind = 130
	kindReportVersion   kind = 131
	kindSetSealKey      kind = 132
	kindCreateSealedKey kind = 133

	kindBlockIP   kind = 140
	kindUnblockIP kind = 141
	kindReportIP  kind = 142

	kindLinkLogin   kind = 150
	kindUnlinkLogin kind = 151
	kindSetPatrons  kind = 152
	kindUndoAct     kind = 153

	kindSetBackup kind = 160
	kindTakeOver  kind = 161
	kindResume    kind = 162
)

// A command changes the state or refuses to. apply sees only the command and tx. It
// returns the data of its Result; a *horde.Error refuses and undoes what was written; any
// other error stops the node.
type command interface {
	apply(tx *tx) ([]byte, error)
}

var (
	// errCommand stops the node: others, of a newer version, may know the command.
	errCommand = errors.New("unknown command")
	// errMalformed refuses a command that no version could read.
	errMalformed = errors.New("malformed command")
)

// encodeCommand writes [kind, body].
func encodeCommand(k kind, body any) []byte {
	b := append(make([]byte, 0, 128), 0x82) // an array of two
	b = append(b, encode(k)...)
	return append(b, encode(body)...)
}

// splitCommand reads the kind and finds the body. What is not an envelope at all is
// malformed and refused. [kind, version, body] is the envelope of versions to come.
func splitCommand(data []byte) (kind, []byte, error) {
	if len(data) < 3 || data[0] != 0x82 && data[0] != 0x83 {
		return 0, nil, fmt.Errorf("%w: no envelope", errMalformed)
	}
	k, rest, ok := smallNumber(data[1:])
	if !ok {
		return 0, nil, fmt.Errorf("%w: no kind", errMalformed)
	}
	if data[0] == 0x82 {
		return kind(k), rest, nil
	}
	version, _, ok := smallNumber(rest)
	if !ok || version == 0 {
		return 0, nil, fmt.Errorf("%w: no version", errMalformed)
	}
	return 0, nil, fmt.Errorf("%w: version %d of kind %d", errCommand, version, k)
}

// smallNumber reads an unsigned number of at most 16 bits in its shortest form.
func smallNumber(b []byte) (n uint16, rest []byte, ok bool) {
	switch {
	case len(b) > 0 && b[0] < 24:
		return uint16(b[0]), b[1:], true
	case len(b) > 1 && b[0] == 24 && b[1] >= 24:
		return uint16(b[1]), b[2:], true
	case len(b) > 2 && b[0] == 25 && b[1] != 0:
		return uint16(b[1])<<8 | uint16(b[2]), b[3:], true
	}
	return 0, nil, false
}

// decodeCommand reads what encodeCommand wrote. errMalformed refuses the command; any
// other error stops the node (docs/decisions/0008-poison.md).
func decodeCommand(data []byte) (command, []byte, error) {
	k, body, err := splitCommand(data)
	if err != nil {
		return nil, nil, err
	}
	c, err := newCommand(k)
	if err != nil {
		return nil, nil, err
	}
	if err := decode(body, c); err != nil {
		return nil, nil, fmt.Errorf("%w: body of kind %d: %w", errMalformed, k, err)
	}
	return c, body, nil
}

func newCommand(k kind) (command, error) {
	switch k {
	case kindGenesis:
		return new(genesis), nil
	case kindConfigure:
		return new(configure), nil
	case kindTick:
		return new(tick), nil
	case kindRaiseEpoch:
		return new(raiseEpoch), nil
	case kindCreateUser:
		return new(createUser), nil
	case kindRotateKey:
		return new(rotateKey), nil
	case kindTestUser:
		return new(testUser), nil
	case kindUpdateUser:
		return new(updateUser), nil
	case kindDeleteUser:
		return new(deleteUser), nil
	case kindSuspect:
		return new(suspect), nil
	case kindTransfer:
		return new(transfer), nil
	case kindAward:
		return new(award), nil
	case kindAdmission:
		return new(admission), nil
	case kindSettlement:
		return new(settlement), nil
	case kindFinish:
		return new(finish), nil
	case kindAbort:
		return new(abort), nil
	case kindUptime:
		return new(uptime), nil
	case kindRegister:
		return new(registerWorker), nil
	case kindUpdateWorker:
		return new(updateWorker), nil
	case kindDeleteWorker:
		return new(deleteWorker), nil
	case kindSetModes:
		return new(setModes), nil
	case kindAdmitMember:
		return new(admitMember), nil
	case kindUpdateMember:
		return new(updateMember), nil
	case kindRemoveMember:
		return new(removeMember), nil
	case kindCreateTeam:
		return new(createTeam), nil
	case kindUpdateTeam:
		return new(updateTeam), nil
	case kindDeleteTeam:
		return new(deleteTeam), nil
	case kindCreateSharedKey:
		return new(createSharedKey), nil
	case kindUpdateSharedKey:
		return new(updateSharedKey), nil
	case kindDeleteSharedKey:
		return new(deleteSharedKey), nil
	case kindPostMessage:
		return new(postMessage), nil
	case kindDeleteMessage:
		return new(deleteMessage), nil
	case kindPutFilter:
		return new(putFilter), nil
	case kindUpdateFilter:
		return new(updateFilter), nil
	case kindDeleteFilter:
		return new(deleteFilter), nil
	case kindCreateStyle:
		return new(createStyle), nil
	case kindUpdateStyle:
		return new(updateStyle), nil
	case kindDeleteStyle:
		return new(deleteStyle), nil
	case kindAddExample:
		return new(addExample), nil
	case kindUpdateExample:
		return new(updateExample), nil
	case kindDeleteExample:
		return new(deleteExample), nil
	case kindCreateCollection:
		return new(createCollection), nil
	case kindUpdateCollection:
		return new(updateCollection), nil
	case kindDeleteCollection:
		return new(deleteCollection), nil
	case kindReverse:
		return new(reverse), nil
	case kindMergeUsers:
		return new(mergeUsers), nil
	case kindMoveWorker:
		return new(moveWorker), nil
	case kindDiscipline:
		return new(discipline), nil
	case kindResetKey:
		return new(resetKey), nil
	case kindRaiseVersion:
		return new(raiseVersion), nil
	case kindReportVersion:
		return new(reportVersion), nil
	case kindSetSealKey:
		return new(setSealKey), nil
	case kindCreateSealedKey:
		return new(createSealedKey), nil
	case kindBlockIP:
		return new(blockIP), nil
	case kindUnblockIP:
		return new(unblockIP), nil
	case kindReportIP:
		return new(reportIP), nil
	case kindLinkLogin:
		return new(linkLogin), nil
	case kindUnlinkLogin:
		return new(unlinkLogin), nil
	case kindUndoAct:
		return new(undoAct), nil
	case kindSetPatrons:
		return new(setPatrons), nil
	case kindSetBackup:
		return new(setBackup), nil
	case kindTakeOver:
		return new(takeOver), nil
	case kindResume:
		return new(resume), nil
	}
	return nil, fmt.Errorf("%w: unknown kind %d", errCommand, k)
}

// run applies one command: all of it, or, if it is refused, nothing.
func (tx *tx) run(data []byte) (Result, error) {
	if r, err := tx.gate(data); r.RC != "" || err != nil {
		return r, err
	}
	c, body, err := decodeCommand(data)
	switch {
	case errors.Is(err, errMalformed):
		// What exactly is wrong stays out of the answer: it is part of the state, and the
		// decoder's words may change.
		return Result{RC: horde.RCBadRequest, Msg: "The command cannot be read."}, nil
	case err != nil:
		return Result{}, err
	}
	if _, ok := c.(*genesis); !ok && !tx.founded() {
		return Result{RC: horde.RCBadRequest, Msg: "The federation is not founded yet."}, nil
	}
	tx.raw = body
	tx.spendable, tx.escrow, tx.held, tx.minted, tx.why = 0, 0, 0, 0, cause{}
	act := tx.act(c)
	out, err := c.apply(tx)
	if err == nil {
		err = tx.account()
	}
	if err == nil {
		tx.record(act)
	}
	if err != nil {
		tx.log.rollback()
		var refusal *horde.Error
		if errors.As(err, &refusal) {
			return Result{RC: refusal.RC, Msg: refusal.Msg}, nil
		}
		return Result{}, fmt.Errorf("apply %T: %w", c, err)
	}
	tx.log.commit()
	tx.totals.Spendable += tx.spendable
	tx.totals.Escrow += tx.escrow
	tx.totals.Held += tx.held
	return Result{Data: out}, nil
}
