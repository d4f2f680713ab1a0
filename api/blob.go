package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// Images travel through this node's own signed addresses, whichever node keeps them, unless
// their store gives addresses of its own (Presign):
//
//	worker ── PUT  /api/fed/v1/blob/<job>.webp?exp&sig ──► Board.PutBlob ──► home of the job
//	client ── GET  /api/fed/v1/blob/<job>.webp?exp&sig ──► Board.Blob    ──► home of the job
//
// A signature covers method, name and expiry, so an address to upload to does not read and
// an address to read from does not write.
const (
	blobPath     = "/api/fed/v1/blob/"
	blobLifetime = 30 * time.Minute
)

func (s *Server) blobRoutes() []route {
	limits := []limit{{n: 60, per: time.Second, by: byIP}}
	return []route{
		{method: "PUT", path: blobPath + "{name}", handle: s.putBlob, limits: limits, body: imageBodyMax, raw: true},
		{method: "GET", path: blobPath + "{name}", handle: s.getBlob, limits: limits},
	}
}

// blobExtension ends the path of every blob's address, and is no part of its name.
const blobExtension = ".webp"

// resultName is the blob that a worker uploads its image to.
func resultName(job horde.JobID) string { return job.String() }

// blobURL signs an address for one method and blob.
func (s *Server) blobURL(r *http.Request, method, name string) string {
	return s.blobAddress(s.baseURL(r), method, name)
}

// A Presign makes an address, valid for a time, at which one blob can be PUT or GET without
// further ado. It returns false for a blob that has none: the address is then one of ours.
type Presign func(method, name string, lifetime time.Duration) (address string, ok bool)

// blobAddress is like blobURL, below a given base.
func (s *Server) blobAddress(base, method, name string) string {
	if s.deps.Presign != nil {
		if address, ok := s.deps.Presign(method, name, blobLifetime); ok {
			return address
		}
	}
	exp := strconv.FormatInt(s.now().Add(blobLifetime).Unix(), 10)
	return base + blobPath + url.PathEscape(name) + blobExtension + "?exp=" + exp + "&sig=" + s.blobSignature(method, name, exp)
}

// baseURL is where clients reach this node.
func (s *Server) baseURL(r *http.Request) string {
	if s.cfg.PublicURL != "" {
		return s.cfg.PublicURL
	}
	scheme := "http"
	if r.TLS != nil || s.isProxied(r) && r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func (s *Server) blobSignature(method, name, exp string) string {
	mac := hmac.New(sha256.New, s.cfg.BlobSecret)
	fmt.Fprintf(mac, "hordenode blob\n%s\n%s\n%s", method, name, exp)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// signedName returns the blob that a signed request is about.
func (s *Server) signedName(r *http.Request, method string) (string, error) {
	name, q := strings.TrimSuffix(r.PathValue("name"), blobExtension), r.URL.Query()
	want := s.blobSignature(method, name, q.Get("exp"))
	if !hmac.Equal([]byte(q.Get("sig")), []byte(want)) {
		return "", horde.Refuse(horde.RCForbidden, "The signature of this address is wrong.")
	}
	exp, err := strconv.ParseInt(q.Get("exp"), 10, 64)
	if err != nil || s.now().Unix() > exp {
		return "", horde.Refuse(horde.RCForbidden, "This address has expired.")
	}
	return name, nil
}

// putBlob takes an upload, whatever it is (docs/decisions/0018-images-in-a-bucket.md). Workers
// send neither content type nor key, and want exactly 200.
func (s *Server) putBlob(w http.ResponseWriter, r *http.Request) error {
	name, err := s.signedName(r, http.MethodPut)
	if err != nil {
		return err
	}
	data, err := readAll(r.Body, r.ContentLength)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return plain(http.StatusRequestEntityTooLarge, fmt.Sprintf("An upload may have %d bytes at most.", over.Limit))
	case errors.Is(err, errBulk):
		return tooBusy()
	case err != nil:
		return plain(http.StatusBadRequest, "The upload broke off.")
	case len(data) == 0:
		return plain(http.StatusBadRequest, "The upload is empty.")
	}
	if err := s.deps.Board.PutBlob(r.Context(), name, data); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// getBlob serves an image. Whatever a worker uploaded, a browser takes it for an image and
// for nothing else.
func (s *Server) getBlob(w http.ResponseWriter, r *http.Request) error {
	name, err := s.signedName(r, http.MethodGet)
	if err != nil {
		return err
	}
	data, err := s.deps.Board.Blob(r.Context(), name)
	switch {
	case isUnavailable(err):
		return err
	case err != nil:
		return plain(http.StatusNotFound, "There is no such image, or not any more.")
	}
	h := w.Header()
	h.Set("Content-Type", imageType(data))
	h.Set("Content-Length", strconv.Itoa(len(data)))
	h.Set("Content-Disposition", `attachment; filename="`+fileName(name, data)+`"`)
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, max-age=1800")
	_, err = w.Write(data)
	return err
}

// imageType is the content type of an image, WebP unless it is known to be another.
func imageType(data []byte) string {
	switch t := http.DetectContentType(data); t {
	case "image/png", "image/jpeg":
		return t
	}
	return "image/webp"
}

// fileName is what a browser calls a blob that it saves. Names are made by this package:
// an id, and letters, digits and "_".
func fileName(name string, data []byte) string {
	return name + "." + strings.TrimPrefix(imageType(data), "image/")
}

// isUnavailable tells errors that pass from those that mean that something is not there.
func isUnavailable(err error) bool {
	return errors.Is(err, horde.RCUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
