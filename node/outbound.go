package node

import (
	"context"
	"net/netip"
	"time"

	"hordenode/internal/horde"
	"hordenode/internal/outbound"
	"hordenode/node/ipcheck"
	"hordenode/node/webhook"
)

// downloads fetches source images that clients named by address.
func (n *Node) downloads() *outbound.Client {
	c := outbound.New(outbound.Policy{
		Redirects: 3,
		Timeout:   2 * time.Second,
		Allow:     n.cfg.OutboundAllow,
		RootCAs:   n.cfg.OutboundRoots,
		Own:       outbound.Interfaces,
	})
	n.onClose(func() error { c.Close(); return nil })
	return c
}

// openWebhooks makes what tells clients of results. Its messages are rendered by the API,
// which does not exist yet: nothing is sent before Run.
func (n *Node) openWebhooks() (err error) {
	secret, err := n.dir.secret()
	if err != nil {
		return err
	}
	c := outbound.New(outbound.Policy{
		HTTPS:   true,
		Ports:   []uint16{443},
		Timeout: webhook.Timeout,
		Allow:   n.cfg.OutboundAllow,
		RootCAs: n.cfg.OutboundRoots,
		Own:     outbound.Interfaces,
	})
	n.onClose(func() error { c.Close(); return nil })
	n.webhooks, err = webhook.Open(webhook.Config{
		Dir:    n.dir.join("webhooks"),
		Secret: secret,
		Post:   c,
		Now:    time.Now,
		Log:    n.log.With("part", "webhook"),
	})
	return err
}

// openIPCheck makes what asks about addresses of workers, if the operator wants that.
func (n *Node) openIPCheck() (err error) {
	if !n.cfg.WorkerIPCheck {
		return nil
	}
	c := outbound.New(outbound.Policy{
		Timeout: 2 * time.Second,
		Allow:   n.cfg.OutboundAllow,
		RootCAs: n.cfg.OutboundRoots,
		Own:     outbound.Interfaces,
	})
	n.onClose(func() error { c.Close(); return nil })
	n.ipcheck, err = ipcheck.Open(ipcheck.Config{URL: n.cfg.WorkerIPService, Get: c, Now: time.Now, Log: n.log.With("part", "ipcheck")})
	return err
}

// unsafeIP is what the API is given to ask about addresses; nil: nobody asks.
func (n *Node) unsafeIP() func(context.Context, netip.Addr) bool {
	if n.ipcheck == nil {
		return nil
	}
	return n.ipcheck.Unsafe
}

func (n *Node) runWebhooks(ctx context.Context) error {
	render := func(ctx context.Context, r *horde.Request, g horde.Generation) (m webhook.Message, err error) {
		m.Address, m.Account, m.Body, err = n.api.Webhook(ctx, r, g)
		return m, err
	}
	return n.webhooks.Run(ctx, render, n.exchange)
}

// isNSFW tells models that the references mark as made for adults.
func (n *Node) isNSFW(kind horde.Kind, model string) bool {
	if kind == horde.KindText {
		m, _ := n.models.Text(model)
		return m.NSFW
	}
	return n.models.NSFW(model)
}
