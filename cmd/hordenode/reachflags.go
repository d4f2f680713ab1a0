package main

import "hordenode/node"

// reachFlags say what a node does to be reached and to reach others.
type reachFlags struct {
	Bootstrap []string `help:"Multiaddr of a member, ending in /p2p/ID, to stay connected to whatever else is known; may be given several times." placeholder:"ADDR"`
	DialRange []string `help:"Network in which addresses that members tell of each other may be dialled although they are not public, such as a VPN; may be given several times." placeholder:"CIDR"`
	NoPortMap bool     `name:"no-port-map" help:"Do not ask the router (UPnP, NAT-PMP) to forward the p2p ports."`
	NoRelay   bool     `name:"no-relay" help:"Neither relay for members that cannot be dialled nor be relayed."`
	NoLAN     bool     `name:"no-lan" help:"Do not look for members in the local network."`
}

func (f reachFlags) config() (node.Reachability, error) {
	ranges, err := prefixes("--dial-range", f.DialRange)
	return node.Reachability{
		Bootstrap: f.Bootstrap, DialRanges: ranges, PortMap: !f.NoPortMap, Relay: !f.NoRelay, LAN: !f.NoLAN,
	}, err
}
