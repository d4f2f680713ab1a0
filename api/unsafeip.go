package api

import (
	"context"
	"net/http"
	"net/netip"

	"hordenode/internal/horde"
)

// Addresses of VPNs and proxies, where the operator has a service to ask (spec/moderation.md
// sections 6, 9.6 and 10). Who is vouched for is not refused; an address that nothing is
// known of counts as safe.
//
//	              usual                raid mode
//	image, forms  accepted             refused: UntrustedUnsafeIP
//	pop           refused: UnsafeIP    admitted, and suspected

// isUnsafe tells whether an address is known for abuse.
func (s *Server) isUnsafe(ctx context.Context, ip netip.Addr) bool {
	return s.deps.UnsafeIP != nil && ip.IsValid() && s.deps.UnsafeIP(ctx, ip)
}

// isPatron tells whether an account is entitled to kudos each month.
func isPatron(u horde.User) bool { return u.MonthlyKudos > 0 }

// unsafeOrder tells whether an order must be refused for where it comes from.
func (s *Server) unsafeOrder(r *http.Request, payer horde.User) bool {
	return !payer.Is(horde.RoleTrusted) && !isPatron(payer) && s.fromUnsafe(r)
}

// fromUnsafe tells whether an order comes from an address that workers may refuse to work for
// (allow_unsafe_ipaddr). Outside raid mode nobody looks.
func (s *Server) fromUnsafe(r *http.Request) bool {
	return s.deps.Accounts.Modes().Raid && s.isUnsafe(r.Context(), s.effectiveIP(r))
}

func untrustedUnsafeIP() error {
	return horde.Refuse(horde.RCUntrustedUnsafeIP, "Requests of new accounts through a VPN or proxy are not taken at the moment. Please try without it.")
}

// checkUnsafeWorker tells whether an owner's worker polls from an unsafe address, and refuses
// it, but in raid mode, where workers are not told.
func (s *Server) checkUnsafeWorker(ctx context.Context, owner horde.User, ip netip.Addr) (unsafe bool, err error) {
	if owner.Is(horde.RoleTrusted) || owner.Is(horde.RoleVPN) || isPatron(owner) || !s.isUnsafe(ctx, ip) {
		return false, nil
	}
	if s.deps.Accounts.Modes().Raid {
		return true, nil
	}
	return true, horde.Refuse(horde.RCUnsafeIP, "Workers cannot poll through a VPN or proxy. If yours has to, please ask a moderator for the permission.")
}

// suspectUnsafe records that a worker polled from an unsafe address. It counts once, so it is
// sent once for what this node has seen.
func (s *Server) suspectUnsafe(ctx context.Context, w horde.WorkerID) {
	if s.deps.SuspectWorker == nil || w.IsZero() {
		return
	}
	if err := s.deps.SuspectWorker(ctx, w); err != nil {
		s.log.WarnContext(ctx, "suspicion not recorded", "worker", w, "err", err)
	}
}
