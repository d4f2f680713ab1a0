package api

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// answerWithin is the time to find out and write the answer of a parked connection.
const answerWithin = 10 * time.Second

// Parking. A client that waits for a minute needs no more of a node than its socket and a goroutine
// that sleeps. What net/http keeps for a connection is several times that, buffers and two
// larger goroutines, so a long poll takes its connection over, and closes it after the answer.

// park takes over the connection of a request and has it answered when v is over. It returns
// false if that is not possible, as with HTTP/2; nothing has happened then.
func (s *Server) park(w http.ResponseWriter, r *http.Request, v *vigil) bool {
	rw, ok := w.(*responder)
	if !ok || r.Method != http.MethodGet || r.ProtoMajor != 1 || !s.parking.enter() {
		return false
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.parking.leave()
		return false
	}
	rw.wrote = true
	p := &page1{header: w.Header().Clone(), status: http.StatusOK}
	late := &responder{ResponseWriter: p, mask: rw.mask}
	r = detached(r)
	go func() {
		defer s.parking.leave()
		s.answerParked(conn, p, late, r, v)
	}()
	return true
}

// detached is what of a request is needed for its answer, without its connection.
func detached(r *http.Request) *http.Request {
	d := &http.Request{
		Method: r.Method, URL: r.URL, Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor,
		Header: r.Header, Host: r.Host, RemoteAddr: r.RemoteAddr, TLS: r.TLS, Pattern: r.Pattern, Body: http.NoBody,
	}
	d.SetPathValue("id", r.PathValue("id"))
	return d
}

// answerParked waits, and writes the answer to the connection.
func (s *Server) answerParked(conn net.Conn, p *page1, w *responder, r *http.Request, v *vigil) {
	defer func() {
		if err := p.send(conn, r); err != nil {
			s.log.Debug("client went away", "route", r.Pattern, "err", err)
		}
	}()
	defer s.rescue(w, r)
	st, err := v.wait(r, s.parking.closed)
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	r = r.WithContext(ctx)
	if st, err = s.lastLook(r, v.look, st, err); err == nil {
		err = v.look.answer(w, r, st)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

// page1 is an answer that is written when it is complete.
type page1 struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (p *page1) Header() http.Header         { return p.header }
func (p *page1) WriteHeader(status int)      { p.status = status }
func (p *page1) Write(b []byte) (int, error) { return p.body.Write(b) }

// send writes the answer and closes the connection.
func (p *page1) send(conn net.Conn, r *http.Request) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	p.header.Set("Date", time.Now().UTC().Format(http.TimeFormat)) // as net/http does
	res := http.Response{
		StatusCode: p.status, ProtoMajor: 1, ProtoMinor: 1, Header: p.header, Request: r, Close: true,
		Body: io.NopCloser(&p.body), ContentLength: int64(p.body.Len()),
	}
	return res.Write(conn)
}

// parking counts parked connections, so that Close can wait for their answers.
type parking struct {
	closed chan struct{} // all shall be answered now

	mu   sync.Mutex // guards the fields below
	shut bool
	wg   sync.WaitGroup
}

func newParking() *parking { return &parking{closed: make(chan struct{})} }

func (p *parking) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shut {
		p.wg.Add(1)
	}
	return !p.shut
}

func (p *parking) leave() { p.wg.Done() }

// Close answers who waits and returns when that is done. The server goes on to answer calls,
// but no connection waits for long any more.
func (s *Server) Close() error {
	p := s.parking
	p.mu.Lock()
	if !p.shut {
		p.shut = true
		close(p.closed)
	}
	p.mu.Unlock()
	p.wg.Wait()
	return nil
}
