package standby

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
)

// Proto is the protocol that a home copies its requests over.
const Proto = "/horde/backup/1"

// MaxMessage bounds a request of Proto, in bytes.
const MaxMessage = 40 << 20

// A request of Proto. Without Begin and Items it asks for the public key.
type request struct {
	Session horde.UUID `cbor:"1,keyasint,omitzero"`
	Begin   []byte     `cbor:"2,keyasint,omitempty"` // the sealed content key: forget what you have of me
	Items   []item     `cbor:"3,keyasint,omitempty"`
}

// An item is one thing about one request, or, with Drop, that nothing of the request is needed
// any more.
type item struct {
	ID    horde.UUID `cbor:"1,keyasint"`
	What  string     `cbor:"2,keyasint,omitempty"`
	Data  []byte     `cbor:"3,keyasint,omitempty"` // sealed
	Until int64      `cbor:"4,keyasint,omitempty"` // Unix seconds, when it may go in any case
	Drop  bool       `cbor:"5,keyasint,omitempty"`
}

type response struct {
	Public  []byte `cbor:"1,keyasint,omitempty"`
	Unknown bool   `cbor:"2,keyasint,omitempty"` // the session: begin again
	Full    bool   `cbor:"3,keyasint,omitempty"` // no room
}

var errMessage = errors.New("standby: not a message")

func encode(v any) ([]byte, error) {
	data, err := cbor.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("standby: encode: %w", err)
	}
	return data, nil
}

func decode[T any](data []byte) (*T, error) {
	v := new(T)
	if err := cbor.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	return v, nil
}

const (
	maxItems = 4096
	maxWhat  = 128 // bytes
)

func (r *request) check() error {
	if len(r.Items) > maxItems || len(r.Begin) > 1024 {
		return errMessage
	}
	for i := range r.Items {
		if len(r.Items[i].What) > maxWhat {
			return errMessage
		}
	}
	return nil
}
