package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"hordenode/internal/horde"
)

// The headers of every message. See docs/webhooks.md.
const (
	HeaderTimestamp = "Horde-Timestamp" // Unix seconds at which the attempt was made
	HeaderSignature = "Horde-Signature" // hex of HMAC-SHA256 over timestamp, ".", body
)

// Secret returns what messages about a user's requests are signed with, in hex: each account
// has its own, made from the secret of the node that it is told by.
func Secret(node []byte, user horde.UserID) string {
	return hex.EncodeToString(mac(node, "hordenode webhook "+strconv.FormatInt(int64(user), 10)))
}

// Sign returns the signature of a message.
func Sign(secret string, at time.Time, body []byte) (timestamp, signature string) {
	timestamp = strconv.FormatInt(at.Unix(), 10)
	return timestamp, hex.EncodeToString(mac([]byte(secret), timestamp+"."+string(body)))
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// signed returns the headers of a message.
func signed(secret string, at time.Time, body []byte) http.Header {
	timestamp, signature := Sign(secret, at, body)
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set(HeaderTimestamp, timestamp)
	h.Set(HeaderSignature, signature)
	return h
}
