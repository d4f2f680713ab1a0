package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// A cluster is three members on this machine.
type cluster struct {
	members []*member
	client  *clientv3.Client
}

// A member is a process of this program that is etcd.
type member struct {
	name, url string // url: for clients
	args      []string
	log       string
	cmd       *exec.Cmd
	exited    chan struct{}
}

const startFor = 30 * time.Second // most until a cluster serves

func (c *cluster) start(ctx context.Context, dir string) (answer, error) {
	if c.client != nil {
		return answer{}, errors.New("started already")
	}
	if dir == "" {
		return answer{}, errors.New("start needs a dir")
	}
	ports, err := freePorts(6)
	if err != nil {
		return answer{}, err
	}
	var peers []string
	for i := range 3 {
		peers = append(peers, fmt.Sprintf("etcd%d=http://127.0.0.1:%d", i, ports[2*i+1]))
	}
	for i := range 3 {
		name := fmt.Sprintf("etcd%d", i)
		url, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[2*i]), fmt.Sprintf("http://127.0.0.1:%d", ports[2*i+1])
		m := &member{name: name, url: url, log: filepath.Join(dir, name+".log"), args: []string{
			"--name", name, "--data-dir", filepath.Join(dir, name), "--log-level", "error",
			"--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(peers, ","), "--initial-cluster-state", "new", "--quota-backend-bytes", strconv.Itoa(8 << 30),
		}}
		c.members = append(c.members, m)
		if err := m.launch(); err != nil {
			return answer{}, err
		}
	}
	if c.client, err = c.dial(c.members...); err != nil {
		return answer{}, err
	}
	if err := until(ctx, startFor, func(ctx context.Context) error {
		_, err := c.client.Put(ctx, "started", "yes")
		return err
	}); err != nil {
		return answer{}, fmt.Errorf("etcd does not serve: %w", err)
	}
	return answer{Version: version.Version}, nil
}

// freePorts are n ports that nobody listens at.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// dial makes a client of the given members.
func (c *cluster) dial(members ...*member) (*clientv3.Client, error) {
	var urls []string
	for _, m := range members {
		urls = append(urls, m.url)
	}
	return clientv3.New(clientv3.Config{Endpoints: urls, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		// gRPC waits a second after a refused connection: what is measured is etcd and not that.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second,
			Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.2, MaxDelay: 50 * time.Millisecond}})},
	})
}

// stop ends the members; their data is the caller's.
func (c *cluster) stop() {
	if c.client != nil {
		_ = c.client.Close() // what it had to say does not matter any more
	}
	for _, m := range c.members {
		m.kill()
	}
}

func (m *member) launch() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	m.cmd = exec.Command(self, m.args...)
	m.cmd.Env = append(os.Environ(), memberEnv+"=1")
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	cmd, exited := m.cmd, make(chan struct{})
	m.exited = exited
	go func() { // ends with the process, which kill waits for
		_ = cmd.Wait() // it is killed
		close(exited)
	}()
	return nil
}

func (m *member) kill() {
	if m.cmd == nil || m.cmd.Process == nil {
		return
	}
	_ = m.cmd.Process.Kill() // an error means that it has ended
	<-m.exited
}

// leader finds the member that leads.
func (c *cluster) leader(ctx context.Context) (*member, error) {
	for _, m := range c.members {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		s, err := c.client.Status(ctx, m.url)
		cancel()
		if err == nil && s.Leader == s.Header.MemberId {
			return m, nil
		}
	}
	return nil, errors.New("nobody leads")
}

// until retries f every 5 ms; each try may take 250 ms.
func until(ctx context.Context, most time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		try, end := context.WithTimeout(ctx, 250*time.Millisecond)
		err := f(try)
		end()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// memory is the resident memory of the largest member.
func (c *cluster) memory() (a answer, err error) {
	for _, m := range c.members {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", m.cmd.Process.Pid))
		if err != nil {
			return a, err
		}
		f := strings.Fields(string(b))
		if len(f) < 2 {
			return a, errors.New("statm has no resident size")
		}
		pages, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return a, err
		}
		a.Bytes = max(a.Bytes, pages*int64(os.Getpagesize()))
	}
	return a, nil
}
