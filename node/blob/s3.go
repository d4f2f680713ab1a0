package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"hordenode/internal/horde"
)

// An S3 is a Store in a bucket of any server that speaks S3. A key is Prefix and the blob's
// name; whatever lies below Prefix is taken for this store's, so nodes that share a bucket
// need prefixes of their own.
//
//	Put, Delete ─► the server, then the index            PresignPut ─► a client writes past us
//	Has, Sweep  ─► the server: what the index lacks is added, what is gone is dropped
//
// The index knows every blob's size, for the quota, and when it came. It is rebuilt when the
// store is opened.
type S3 struct {
	cfg    S3Config
	client *minio.Client
	direct *minio.Client // makes addresses for others; does not connect

	stripes [64]sync.Mutex // by name: a blob's change and its accounting stay together

	mu    sync.Mutex // guards what follows
	index map[string]entry
	used  int64 // bytes, with what is being written
}

// entry is what is known of a blob.
type entry struct {
	size int64
	at   time.Time
}

var _ Store = (*S3)(nil)

// s3Time bounds one call of the server; a sweep makes many.
const s3Time = 15 * time.Second

// OpenS3 opens a store and lists what its prefix holds. The bucket must exist.
func OpenS3(ctx context.Context, cfg S3Config) (*S3, error) {
	cfg = cfg.withDefaults()
	client, err := cfg.connect(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	s := &S3{cfg: cfg, client: client, direct: client, index: map[string]entry{}}
	if cfg.PublicEndpoint != "" {
		if s.direct, err = cfg.connect(cfg.PublicEndpoint); err != nil {
			return nil, err
		}
	}
	if err := s.load(ctx); err != nil {
		return nil, fmt.Errorf("list the bucket %s: %w", cfg.Bucket, err)
	}
	return s, nil
}

// load fills the index.
func (s *S3) load(ctx context.Context) error {
	return s.each(ctx, "", func(name string, e entry) error {
		s.index[name] = e
		s.used += e.size
		return nil
	})
}

// connect makes a client of one of the endpoints. Nothing is sent: the region is known.
func (c S3Config) connect(endpoint string) (*minio.Client, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, errors.New("the endpoint of the S3 store is not http(s)://HOST[:PORT]")
	}
	lookup := minio.BucketLookupPath
	if c.VirtualHost {
		lookup = minio.BucketLookupDNS
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(c.Keys.Access, string(c.Keys.Secret), ""),
		Secure:       u.Scheme == "https",
		Region:       c.Region,
		Transport:    c.Transport,
		BucketLookup: lookup,
		MaxRetries:   3,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the S3 store: %w", err)
	}
	return client, nil
}

// Put implements Store.
func (s *S3) Put(ctx context.Context, name string, data []byte) error {
	n, err := ParseName(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	size := int64(len(data))
	if size > s.cfg.MaxBlob {
		return horde.Refuse(horde.RCBadRequest, "A blob has at most %d bytes.", s.cfg.MaxBlob)
	}
	ctx, cancel := context.WithTimeout(ctx, s3Time)
	defer cancel()
	defer s.hold(n)()
	if err := s.reserve(size); err != nil {
		return err
	}
	_, err = s.client.PutObject(ctx, s.cfg.Bucket, s.key(n.String()), bytes.NewReader(data), size,
		minio.PutObjectOptions{ContentType: http.DetectContentType(data), DisableMultipart: true})
	if err != nil {
		s.release(size)
		return away("store blob", err)
	}
	s.release(size)
	s.note(n.String(), entry{size, s.cfg.Now()})
	return nil
}

// Get implements Store.
func (s *S3) Get(ctx context.Context, name string) ([]byte, error) {
	n, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s3Time)
	defer cancel()
	object, err := s.client.GetObject(ctx, s.cfg.Bucket, s.key(n.String()), minio.GetObjectOptions{})
	if err != nil {
		return nil, lost(err)
	}
	data, err := io.ReadAll(io.LimitReader(object, s.cfg.MaxBlob+1))
	if err = errors.Join(err, object.Close()); err != nil {
		return nil, lost(err)
	}
	if int64(len(data)) > s.cfg.MaxBlob {
		return nil, horde.Refuse(horde.RCBadRequest, "A blob has at most %d bytes.", s.cfg.MaxBlob)
	}
	return data, nil
}

// Has implements Store. What a client uploaded with a presigned address becomes known here;
// such an address bounds no length, so what is too long counts as not there.
func (s *S3) Has(ctx context.Context, name string) bool {
	n, err := ParseName(name)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s3Time)
	defer cancel()
	defer s.hold(n)()
	info, err := s.client.StatObject(ctx, s.cfg.Bucket, s.key(n.String()), minio.StatObjectOptions{})
	if err != nil {
		return false
	}
	if info.Size > s.cfg.MaxBlob {
		return false // nobody could read it; the sweep deletes it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.index[n.String()]; e.size != info.Size || e.at.IsZero() {
		s.set(n.String(), entry{info.Size, info.LastModified})
	}
	return true
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, name string) error {
	n, err := ParseName(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s3Time)
	defer cancel()
	return s.remove(ctx, n)
}

func (s *S3) remove(ctx context.Context, n Name) error {
	defer s.hold(n)()
	err := s.client.RemoveObject(ctx, s.cfg.Bucket, s.key(n.String()), minio.RemoveObjectOptions{})
	if err != nil && !isMissing(err) {
		return away("delete blob", err)
	}
	s.drop(n.String())
	return nil
}

// DeleteAll implements Store.
func (s *S3) DeleteAll(ctx context.Context, id horde.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s3Time)
	defer cancel()
	return s.removeThose(ctx, id.String(), func(entry) bool { return true })
}

// Sweep implements Store. It also learns what was uploaded with presigned addresses, and
// forgets what somebody else deleted.
func (s *S3) Sweep(ctx context.Context, now time.Time) error {
	before := s.names()
	found := map[string]bool{}
	err := s.each(ctx, "", func(name string, e entry) error {
		found[name] = true
		s.mu.Lock()
		defer s.mu.Unlock()
		if known, ok := s.index[name]; !ok || known.size != e.size {
			s.set(name, e)
		}
		return nil
	})
	if err != nil {
		return away("sweep blobs", err)
	}
	for _, name := range before { // what came during the list may not be in it
		if !found[name] {
			s.drop(name)
		}
	}
	for name := range found {
		if e, ok := s.entry(name); !ok || now.Sub(e.at) <= s.cfg.KeepFor {
			continue
		}
		n, err := ParseName(name)
		if err != nil {
			return err // each lets none of those through
		}
		if err := s.remove(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// Usage implements Store.
func (s *S3) Usage() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Presign returns an address that PUTs or GETs one blob without further ado for that long.
// There is none, and false, for another method or name, if the quota is used up, or if the
// store is configured to give none: the bytes then go through the node, which says why.
func (s *S3) Presign(method, name string, lifetime time.Duration) (address string, ok bool) {
	n, err := ParseName(name)
	if err != nil || s.cfg.Indirect {
		return "", false
	}
	query := url.Values{}
	switch method {
	case http.MethodGet:
		// What a bare PUT left has no type of its own; no browser may take it for a page.
		query.Set("response-content-type", "image/webp")
		query.Set("response-content-disposition", `attachment; filename="`+n.String()+`.webp"`)
	case http.MethodPut:
		if s.Usage() >= s.cfg.Quota {
			return "", false
		}
	default:
		return "", false
	}
	// With a region that is known this signs and sends nothing.
	u, err := s.direct.PresignHeader(context.Background(), method, s.cfg.Bucket, s.key(n.String()), lifetime, query, nil)
	if err != nil {
		return "", false
	}
	return u.String(), true
}

func (s *S3) key(name string) string { return s.cfg.Prefix + name }

// each calls f for every blob whose name begins with start.
func (s *S3) each(ctx context.Context, start string, f func(name string, e entry) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the list when f fails
	defer cancel()
	for o := range s.client.ListObjectsIter(ctx, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: s.key(start), Recursive: true}) {
		if o.Err != nil {
			return o.Err
		}
		n, err := ParseName(strings.TrimPrefix(o.Key, s.cfg.Prefix))
		if err != nil {
			continue // not ours
		}
		if err := f(n.String(), entry{o.Size, o.LastModified}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// removeThose deletes the blobs whose names begin with start and that which tells.
func (s *S3) removeThose(ctx context.Context, start string, which func(entry) bool) error {
	var gone []Name
	err := s.each(ctx, start, func(name string, e entry) error {
		n, err := ParseName(name)
		if err == nil && which(e) {
			gone = append(gone, n)
		}
		return err
	})
	if err != nil {
		return away("list blobs", err)
	}
	for _, n := range gone {
		if err := s.remove(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// hold keeps others from changing a blob of that name until the returned function is called.
func (s *S3) hold(n Name) (release func()) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(n.String())) // never fails
	m := &s.stripes[h.Sum32()%uint32(len(s.stripes))]
	m.Lock()
	return m.Unlock
}

// reserve takes room for n bytes before they are sent.
func (s *S3) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.cfg.Quota {
		return horde.Refuse(horde.RCUnavailable, "This node has no room for more images. Please try again later.")
	}
	s.used += n
	return nil
}

func (s *S3) release(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
}

func (s *S3) entry(name string) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.index[name]
	return e, ok
}

func (s *S3) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]string, 0, len(s.index))
	for name := range s.index {
		list = append(list, name)
	}
	return list
}

func (s *S3) note(name string, e entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(name, e)
}

// set replaces what is known of a blob. mu is held.
func (s *S3) set(name string, e entry) {
	s.used += e.size - s.index[name].size
	s.index[name] = e
}

func (s *S3) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= s.index[name].size
	delete(s.index, name)
}

// lost is an error of reading.
func lost(err error) error {
	if isMissing(err) {
		return &horde.Error{RC: horde.RCRequestNotFound, Msg: "There is no such image. It may have expired.", Err: fs.ErrNotExist}
	}
	return away("read blob", err)
}

func isMissing(err error) bool {
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && (answer.StatusCode == http.StatusNotFound || answer.Code == minio.NoSuchKey)
}

// away is an error of the server's, or of the way there.
func away(doing string, err error) error {
	return &horde.Error{
		RC: horde.RCUnavailable, Msg: "The store of images does not answer. Please try again later.", Err: fmt.Errorf("%s: %w", doing, err),
	}
}
