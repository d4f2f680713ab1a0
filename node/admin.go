package node

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// listenAdmin opens the operator's port, if one is configured: metrics and profiles, which
// are nobody else's business.
func (n *Node) listenAdmin() (err error) {
	if n.cfg.AdminListen == "" {
		return nil
	}
	if n.admin, err = net.Listen("tcp", n.cfg.AdminListen); err != nil {
		return fmt.Errorf("cannot listen on %s: %w", n.cfg.AdminListen, err)
	}
	n.onClose(func() error { return ignoreClosed(n.admin.Close()) })
	return nil
}

// checkAdmin tells what is wrong with the address of the operator's port: metrics and profiles
// have no password, so it must be one that the internet cannot reach.
func checkAdmin(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("admin address %q is not HOST:PORT: %w", address, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() && !ip.IsPrivate() {
		return fmt.Errorf("admin address %q: want an address of this machine or of a private network; metrics and profiles have no password", address)
	}
	return nil
}

// serveAdmin serves /metrics and /debug/pprof until ctx is done.
func (n *Node) serveAdmin(ctx context.Context) error {
	if n.admin == nil {
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(n.metrics(), promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return serve(ctx, &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: quiet()}, n.admin)
}

// metrics are read when they are asked for. Their labels never come from users.
func (n *Node) metrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "hordenode", Name: name, Help: help}, value))
	}
	count := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "hordenode", Name: name, Help: help}, value))
	}
	gauge("leader", "1 if this node leads the ledger.", func() float64 {
		if n.group.IsLeader() {
			return 1
		}
		return 0
	})
	gauge("ledger_applied_index", "Last ledger entry applied here.", func() float64 { return float64(n.group.Applied()) })
	gauge("ledger_staleness_seconds", "Since the leader's last tick was applied here.", func() float64 { return n.staleness().Seconds() })
	gauge("peers_connected", "Members that this node is connected to.", func() float64 {
		connected := 0
		for _, p := range n.host.Peers() {
			if p.Connected {
				connected++
			}
		}
		return float64(connected)
	})
	gauge("offers", "Open requests of all nodes that this one knows.", func() float64 { s := n.exchange.Stats(); return float64(sum(s.Offers[:])) })
	gauge("workers", "Workers of all nodes that checked in lately.", func() float64 { return float64(n.exchange.Stats().LiveWorkers) })
	gauge("requests", "Requests that this node is the home of.", func() float64 { return float64(n.home.Counters().Requests) })
	gauge("outbox", "Ledger commands of this node that wait to be committed.", func() float64 { return float64(n.home.Counters().Outbox) })
	gauge("blob_bytes", "Images stored here.", func() float64 { return float64(n.blobs.Usage()) })
	count("requests_accepted_total", "Requests accepted here since the start.", func() float64 { return float64(n.home.Counters().Accepted) })
	count("jobs_granted_total", "Jobs of this home handed out since the start.", func() float64 { return float64(n.home.Counters().Granted) })
	count("jobs_delivered_total", "Jobs of this home delivered since the start.", func() float64 { return float64(n.home.Counters().Delivered) })
	count("jobs_aborted_total", "Jobs of this home that were not delivered in time since the start.", func() float64 { return float64(n.home.Counters().Aborted) })
	gauge("waiting_clients", "Clients and workers that wait here for news.", func() float64 { return float64(n.api.Waiting()) })
	if c := n.ipcheck; c != nil {
		count("ip_checks_total", "Addresses that the reputation service was asked about.", func() float64 { return float64(c.Counters().Asked) })
		count("ip_checks_unsafe_total", "Addresses that it held for unsafe.", func() float64 { return float64(c.Counters().Unsafe) })
		count("ip_checks_failed_total", "Looks at addresses that counted as safe because the service did not answer.", func() float64 { return float64(c.Counters().Failed) })
	}
	gauge("standby_bytes", "Copies of other homes' requests that are kept here.", func() float64 { return float64(n.standby.Bytes()) })
	count("unprotected_items_total", "Requests, results and the like that no backup had when they were acknowledged, since the start.", func() float64 { return float64(n.copier.Unprotected()) })
	count("bans_withdrawn_requests_total", "Requests of banned users that this node withdrew since the start.", func() float64 { return float64(n.bars.withdrawn.Load()) })
	count("revoked_waits_total", "Long polls that were ended because their key was revoked, since the start.", func() float64 { return float64(n.bars.ended.Load()) })
	return reg
}
