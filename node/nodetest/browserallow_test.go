//go:build browser

package nodetest_test

import "net/netip"

// loopback is where a test's provider is.
func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
