package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// answerWithin is the time to find out and write the answer of a parked connection.
const answerWithin = 10 * time.Second

// Parking. A client that waits for a minute needs no more of a node than its socket and a goroutine
// that sleeps. What net/http keeps for a connection is several times that, buffers and two
// larger goroutines, so a long poll takes its connection over, and closes it after the answer.

// A parked connection is one that was taken over, and the little of its request that the answer
// needs.
type parked struct {
	s    *Server
	conn net.Conn
	v    *vigil

	url                     *url.URL
	header                  http.Header // of the request
	host, remote, route, id string
	tls                     *tls.ConnectionState
	mask                    *mask
	told                    []string // headers of the answer so far, names and values by turns
}

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
	p := &parked{
		s: s, conn: conn, v: v, url: r.URL, header: r.Header, host: r.Host, remote: r.RemoteAddr, route: r.Pattern,
		id: r.PathValue("id"), tls: r.TLS, mask: rw.mask,
	}
	h := w.Header()
	p.told = make([]string, 0, 2*len(h))
	for name, values := range h {
		for _, v := range values {
			p.told = append(p.told, name, v)
		}
	}
	go p.wait()
	return true
}

// wait answers when it is time. While nothing happens its stack holds little: many goroutines
// spend their time here.
func (p *parked) wait() {
	defer p.s.parking.leave()
	defer p.v.end()
	for {
		over := !p.v.sleep(p.s.parking.closed)
		if p.answer(over) {
			return
		}
	}
}

// request is the request as it was, without its connection.
func (p *parked) request(ctx context.Context) *http.Request {
	r := &http.Request{
		Method: http.MethodGet, URL: p.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: p.header, Host: p.host, RemoteAddr: p.remote, TLS: p.tls, Pattern: p.route, Body: http.NoBody,
	}
	r.SetPathValue("id", p.id)
	return r.WithContext(ctx)
}

// answer answers if there is news, or if the wait is over, and tells whether it did.
func (p *parked) answer(over bool) (done bool) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	r, out := p.request(ctx), &page1{header: http.Header{}, status: http.StatusOK}
	for i := 0; i < len(p.told); i += 2 {
		out.header.Add(p.told[i], p.told[i+1])
	}
	w := &responder{ResponseWriter: out, mask: p.mask}
	done = true
	defer func() {
		if !done {
			return
		}
		if err := out.send(p.conn, r); err != nil {
			p.s.log.Debug("client went away", "route", p.route, "err", err)
		}
	}()
	defer p.s.rescue(w, r)
	st, err := p.v.check(r)
	if !over && err == nil && progressOf(st) == p.v.first {
		return false
	}
	if st, err = p.s.lastLook(r, p.v.look, st, err); err == nil {
		err = p.v.look.answer(w, r, st)
	}
	if err != nil {
		p.s.fail(w, r, err)
	}
	return true
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
