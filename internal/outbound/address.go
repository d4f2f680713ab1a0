package outbound

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// ErrForbidden is returned for an address that a node must not be made to call. The reason is
// for the log: a client that learns it could map our network.
var ErrForbidden = errors.New("address not allowed")

// global is the part of IPv6 that is handed out for the public internet.
var global = netip.MustParsePrefix("2000::/3")

// special are the parts of the unicast space that lead to no public host, by the IANA
// special-purpose registries (RFC 6890 and what followed it).
var special = prefixes(
	"0.0.0.0/8",         // this network
	"10.0.0.0/8",        // private
	"100.64.0.0/10",     // shared by carriers (CGNAT), and some clouds' metadata
	"127.0.0.0/8",       // loopback
	"168.63.129.16/32",  // a cloud's host agent, in public space
	"169.254.0.0/16",    // link-local: most clouds' metadata
	"172.16.0.0/12",     // private
	"192.0.0.0/24",      // protocol assignments
	"192.0.2.0/24",      // documentation
	"192.31.196.0/24",   // AS112
	"192.52.193.0/24",   // AMT relays
	"192.88.99.0/24",    // 6to4 relays
	"192.168.0.0/16",    // private
	"192.175.48.0/24",   // AS112
	"198.18.0.0/15",     // benchmarks
	"198.51.100.0/24",   // documentation
	"203.0.113.0/24",    // documentation
	"224.0.0.0/4",       // multicast
	"240.0.0.0/4",       // reserved, and broadcast
	"2001::/23",         // protocol assignments, Teredo among them
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4: holds any IPv4 address
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// Check returns ErrForbidden, with the reason, for an address that is no public host. An IPv4
// address dressed up as IPv6, as ::ffff:0:0/96 or 64:ff9b::/96, is refused whatever it holds.
func Check(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return fmt.Errorf("%w: not an IP address", ErrForbidden)
	case a.Zone() != "":
		return fmt.Errorf("%w: %s has a zone", ErrForbidden, a)
	case a.Is6() && !global.Contains(a):
		return fmt.Errorf("%w: %s is not global unicast", ErrForbidden, a)
	}
	if in := slices.IndexFunc(special, func(p netip.Prefix) bool { return p.Contains(a) }); in >= 0 {
		return fmt.Errorf("%w: %s is in %s", ErrForbidden, a, special[in])
	}
	return nil
}
