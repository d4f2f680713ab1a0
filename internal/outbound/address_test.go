package outbound

import (
	"errors"
	"net/netip"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		addr string
		ok   bool
	}{
		// public
		{"1.1.1.1", true}, {"8.8.8.8", true}, {"9.255.255.255", true}, {"11.0.0.0", true},
		{"100.63.255.255", true}, {"100.128.0.0", true}, {"126.255.255.255", true}, {"128.0.0.1", true},
		{"169.253.255.255", true}, {"169.255.0.0", true}, {"172.15.255.255", true}, {"172.32.0.0", true},
		{"192.167.255.255", true}, {"192.169.0.0", true}, {"198.17.255.255", true}, {"198.20.0.0", true},
		{"223.255.255.255", true}, {"168.63.129.15", true},
		{"2606:4700:4700::1111", true}, {"2001:4860:4860::8888", true}, {"2a00:1450:4001:81b::200e", true}, {"2001:200::1", true},
		// this network and loopback
		{"0.0.0.0", false}, {"0.0.0.1", false}, {"0.255.255.255", false}, {"127.0.0.1", false}, {"127.1.2.3", false},
		{"127.255.255.255", false}, {"::", false}, {"::1", false},
		// private and shared
		{"10.0.0.0", false}, {"10.255.255.255", false}, {"172.16.0.1", false}, {"172.31.255.255", false},
		{"192.168.0.1", false}, {"192.168.255.255", false}, {"100.64.0.0", false}, {"100.127.255.255", false},
		// metadata
		{"169.254.169.254", false}, {"169.254.170.2", false}, {"100.100.100.200", false}, {"192.0.0.192", false},
		{"168.63.129.16", false}, {"fd00:ec2::254", false}, {"fe80::a9fe:a9fe", false},
		// link-local, unique local, site-local
		{"169.254.0.1", false}, {"fe80::1", false}, {"fe80::1%eth0", false}, {"febf::1", false}, {"fc00::1", false},
		{"fd12:3456:789a::1", false}, {"fec0::1", false},
		// multicast, reserved, broadcast
		{"224.0.0.1", false}, {"239.255.255.255", false}, {"240.0.0.1", false}, {"255.255.255.255", false},
		{"ff02::1", false}, {"ff0e::1", false},
		// documentation, benchmarks, protocols
		{"192.0.2.1", false}, {"198.51.100.7", false}, {"203.0.113.7", false}, {"198.18.0.1", false}, {"198.19.255.255", false},
		{"192.88.99.1", false}, {"2001:db8::1", false}, {"3fff::1", false}, {"2001:10::1", false}, {"100::1", false},
		// IPv4 within IPv6
		{"::ffff:127.0.0.1", false}, {"::ffff:8.8.8.8", false}, {"::ffff:169.254.169.254", false}, {"::127.0.0.1", false},
		{"64:ff9b::8.8.8.8", false}, {"64:ff9b::a00:1", false}, {"64:ff9b:1::a00:1", false}, {"2002:7f00:1::", false},
		{"2002:808:808::1", false}, {"2001:0:7f00:1::", false}, {"::ffff:0:127.0.0.1", false},
		{"2606:4700::1%eth0", false},
	} {
		err := Check(netip.MustParseAddr(tt.addr))
		if ok := err == nil; ok != tt.ok {
			t.Errorf("Check(%s) = %v, want allowed %v", tt.addr, err, tt.ok)
		}
		if err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("Check(%s) = %v, want ErrForbidden", tt.addr, err)
		}
	}
	if err := Check(netip.Addr{}); !errors.Is(err, ErrForbidden) {
		t.Errorf("Check(zero) = %v, want ErrForbidden", err)
	}
}
