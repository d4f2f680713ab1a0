package p2p

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A call is one stream:
//
//	request   uvarint n · n bytes
//	response  uvarint n · status · n-1 bytes: the response, or, if status is statusError,
//	          uvarint m · m bytes of code · the message
//
// The caller keeps its side open until it has the response: when its side ends, the handler's
// context does.
const (
	statusOK    = 0
	statusError = 1

	maxCode = 64
	maxMsg  = 1 << 10

	// maxErrorFrame is how long an error response can be, whatever the protocol's limit.
	maxErrorFrame = 1 + binary.MaxVarintLen64 + maxCode + maxMsg
)

var errFrame = errors.New("malformed frame")

// appendFrame appends uvarint(len) and the parts.
func appendFrame(dst []byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return dst
}

func frame(parts ...[]byte) []byte {
	n := binary.MaxVarintLen64
	for _, p := range parts {
		n += len(p)
	}
	return appendFrame(make([]byte, 0, n), parts...)
}

// readFrame reads a frame of at most limit bytes. reserve is asked before more than a little
// memory is spent; memory grows with what arrives, not with what is announced.
func readFrame(r *bufio.Reader, limit int, reserve func(int) error) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, n, limit)
	}
	const little = 16 << 10
	if n <= little {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	if err := reserve(int(n)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	var b bytes.Buffer
	b.Grow(little)
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func okFrame(response []byte) []byte { return frame([]byte{statusOK}, response) }

func errorFrame(e *RemoteError) []byte {
	code := e.Code[:min(len(e.Code), maxCode)]
	msg := e.Msg[:min(len(e.Msg), maxMsg)]
	head := binary.AppendUvarint([]byte{statusError}, uint64(len(code)))
	return frame(head, []byte(code), []byte(msg))
}

// parseResponse splits a response frame into the response or the peer's error.
func parseResponse(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: no status", errFrame)
	}
	status, b := b[0], b[1:]
	switch status {
	case statusOK:
		return b, nil
	case statusError:
		n, size := binary.Uvarint(b)
		if size <= 0 || n > maxCode || n > uint64(len(b)-size) {
			return nil, fmt.Errorf("%w: error code", errFrame)
		}
		code, msg := b[size:size+int(n)], b[size+int(n):]
		if string(code) == codeBusy {
			return nil, fmt.Errorf("%w at the peer: %s", ErrBusy, msg)
		}
		return nil, &RemoteError{Code: string(code), Msg: string(msg)}
	}
	return nil, fmt.Errorf("%w: status %d", errFrame, status)
}
