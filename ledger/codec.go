package ledger

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// codec is the one encoding of the package: RFC 8949 core deterministic CBOR, so equal
// values are equal bytes on every node. It is immutable.
var codec = newCodec()

type cborCodec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

func newCodec() cborCodec {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(fmt.Sprintf("ledger: cbor encoding options: %v", err)) // constant options
	}
	dec, err := cbor.DecOptions{
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  8,
		MaxArrayElements: 1 << 16,
		MaxMapPairs:      1 << 10,
	}.DecMode()
	if err != nil {
		panic(fmt.Sprintf("ledger: cbor decoding options: %v", err)) // constant options
	}
	return cborCodec{enc, dec}
}

// encode encodes a value of this package. It cannot fail: every type it is given holds
// only integers, booleans, strings, byte strings, and arrays and structs of them.
func encode(v any) []byte {
	b, err := codec.enc.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("ledger: encode %T: %v", v, err))
	}
	return b
}

// decode decodes what encode wrote, possibly by a newer version: unknown keys are ignored.
func decode(b []byte, v any) error { return codec.dec.Unmarshal(b, v) }
