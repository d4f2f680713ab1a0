package main

import "hordenode/node"

// policyFlags are node.Policy on the command line of run; in the configuration file they are
// keys of the section "run".
type policyFlags struct {
	Region        string   `help:"Where this node is, for clients and workers that look for a near one." placeholder:"NAME"`
	AcceptKinds   []string `help:"Kinds of requests that clients may make at this node: image, text, alchemy. Default: all." placeholder:"KIND"`
	ServeKinds    []string `help:"Kinds of jobs that workers at this node are given. Default: all." placeholder:"KIND"`
	NoNSFW        bool     `name:"no-nsfw" help:"Neither accept nor serve requests that are marked NSFW."`
	OnlyModels    []string `help:"Models that are accepted and served. Default: all." placeholder:"MODEL"`
	OwnUsersFirst bool     `help:"Workers at this node serve the requests made at this node first." xor:"own"`
	OwnUsersOnly  bool     `help:"Workers at this node serve only the requests made at this node." xor:"own"`
	MinTrust      string   `help:"What accounts must be for their requests to be accepted and served: ${enum}." enum:"anybody,registered,trusted" default:"anybody"`
	ExcludeMember []string `help:"Member, by name or id, that this node exchanges no jobs with; may be given several times." placeholder:"NODE"`
}

func (f policyFlags) policy() node.Policy {
	p := node.Policy{
		AcceptKinds: f.AcceptKinds, ServeKinds: f.ServeKinds, NoNSFW: f.NoNSFW, OnlyModels: f.OnlyModels, Exclude: f.ExcludeMember,
	}
	switch {
	case f.OwnUsersFirst:
		p.OwnUsers = node.OwnFirst
	case f.OwnUsersOnly:
		p.OwnUsers = node.OwnOnly
	}
	if f.MinTrust != "anybody" {
		p.MinTrust = f.MinTrust
	}
	return p
}
