package blob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"
)

// S3Config is what an S3 needs: Endpoint, Bucket and Keys. Zero limits have the defaults of
// Config.
type S3Config struct {
	Endpoint string // http(s)://HOST[:PORT]
	// PublicEndpoint is how clients and workers reach the server, if not by Endpoint.
	PublicEndpoint string
	Bucket         string
	Prefix         string // of keys; it should end with a slash
	Region         string // us-east-1
	Keys           Keys
	VirtualHost    bool // the bucket is part of the host's name, not of the path
	Indirect       bool // no presigned addresses: all bytes go through the node

	MaxBlob int64         // bytes of one blob
	Quota   int64         // bytes of all blobs
	KeepFor time.Duration // since Put

	Transport http.RoundTripper // nil: minio's
	Now       func() time.Time  // time.Now
}

func (c S3Config) withDefaults() S3Config {
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.MaxBlob == 0 {
		c.MaxBlob = defaultMaxBlob
	}
	if c.Quota == 0 {
		c.Quota = defaultQuota
	}
	if c.KeepFor == 0 {
		c.KeepFor = defaultKeepFor
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Keys sign for an account of an S3 server.
type Keys struct {
	Access string
	Secret SecretKey
}

// A SecretKey is never shown.
type SecretKey string

// LogValue implements slog.LogValuer.
func (SecretKey) LogValue() slog.Value { return slog.StringValue(hidden) }

// String implements fmt.Stringer: what prints a configuration prints no secret.
func (SecretKey) String() string { return hidden }

// GoString implements fmt.GoStringer.
func (SecretKey) GoString() string { return hidden }

const hidden = "(secret key)"

// maxKeyFile is the largest file of keys that is read, in bytes.
const maxKeyFile = 4 << 10

// ReadKeys reads a file of two lines: the access key and the secret key. Who else may read the
// file is the operator's to see to, but a file that everybody may read is refused.
func ReadKeys(path string) (k Keys, err error) {
	f, err := os.Open(path)
	if err != nil {
		return k, fmt.Errorf("read the keys of the S3 store: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return k, fmt.Errorf("read the keys of the S3 store: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return k, fmt.Errorf("everybody may read %s: chmod 600 it", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return k, fmt.Errorf("read the keys of the S3 store: %w", err)
	}
	access, secret, _ := bytes.Cut(data, []byte("\n"))
	k = Keys{strings.TrimSpace(string(access)), SecretKey(bytes.TrimSpace(secret))}
	if k.Access == "" || k.Secret == "" || strings.ContainsAny(string(k.Secret), "\r\n") {
		return Keys{}, fmt.Errorf("%s does not hold two lines: access key and secret key", path)
	}
	return k, nil
}
