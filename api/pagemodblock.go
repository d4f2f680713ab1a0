package api

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// modBlocks is what the page of blocked addresses shows.
type modBlocks struct {
	CSRF    string
	NeedKey bool   // the visitor logged in a while ago
	Looked  string // the address that was looked for
	Lines   []blockLine
	Address string // what the form begins with
	Worker  string // id of the worker whose address it is
}

type blockLine struct {
	Network, Until, Reason, By string
	Worker                     string
	Reports                    int
}

func (s *Server) consoleBlockRoutes(show func(string, shower) route, do func(string, shower, deed) route) []route {
	return []route{
		show("/moderation/blocks", s.renderModBlocks),
		do("/moderation/blocks", s.renderModBlocks, s.modBlock),
		do("/moderation/blocks/delete", s.renderModBlocks, s.modUnblock),
	}
}

// renderModBlocks lists the networks that are kept out. Single addresses are known by their
// hashes only: they are found by who looks for one.
func (s *Server) renderModBlocks(w http.ResponseWriter, r *http.Request, _ horde.User, status int, p page) error {
	if s.deps.Blocks == nil {
		return s.keptOut(w, horde.Refuse(horde.RCUnavailable, "This node cannot block addresses."))
	}
	d := modBlocks{NeedKey: !s.isRecent(r), Looked: truncate(strings.TrimSpace(r.URL.Query().Get("find")), maxAddress), Worker: truncate(r.URL.Query().Get("worker"), 36)}
	d.Address = d.Looked
	list, err := s.deps.Blocks.IPBlocks()
	if err != nil {
		return err
	}
	if d.Looked != "" {
		list = nil
		if network, err := parseNetwork(d.Looked); err == nil {
			list = s.deps.Blocks.IPBlocksOf(network.Addr())
		}
	}
	for _, b := range list[:min(len(list), maxWorkerLines)] {
		l := blockLine{Network: shownNetwork(b.Network), Until: b.Until.UTC().Format("2006-01-02 15:04"), Reason: b.Reason, By: "corrupt prompts", Reports: b.Reports}
		if b.By != 0 {
			by, _ := s.deps.Accounts.User(b.By)
			l.By = by.Alias()
		}
		if !b.Worker.IsZero() {
			l.Worker = b.Worker.String()
		}
		d.Lines = append(d.Lines, l)
	}
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = "Blocks", "/moderation/blocks", d
	return s.render(w, status, "modblocks", p)
}

func (s *Server) modNetwork(f *fields) netip.Prefix {
	network, err := parseNetwork(f.text("ipaddr", "The address", maxAddress))
	if err != nil && f.err == nil {
		f.err = err
	}
	return network
}

func (s *Server) modBlock(r *http.Request, u horde.User, form url.Values) (string, error) {
	f := &fields{form: form}
	n := NewIPBlock{Actor: u.ID, Network: s.modNetwork(f), Reason: sanitize(f.text("reason", "The reason", maxBlockReason))}
	n.For = time.Duration(f.number("hours", "The time", 24, 1, 720)) * time.Hour
	if f.err != nil {
		return "", f.err
	}
	if err := s.recent(r, form, u); err != nil {
		return "", err
	}
	if id, err := horde.ParseUUID(form.Get("worker")); err == nil {
		n.Worker = horde.WorkerID{UUID: id}
	}
	return "/moderation/blocks?told=blocked", s.deps.Blocks.BlockIP(r.Context(), n)
}

func (s *Server) modUnblock(r *http.Request, u horde.User, form url.Values) (string, error) {
	f := &fields{form: form}
	network := s.modNetwork(f)
	if f.err != nil {
		return "", f.err
	}
	if err := s.recent(r, form, u); err != nil {
		return "", err
	}
	s.suspects.forget(network.Addr())
	return "/moderation/blocks?told=freed", s.deps.Blocks.UnblockIP(r.Context(), u.ID, network)
}
