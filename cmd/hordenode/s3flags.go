package main

import (
	"errors"
	"fmt"

	"hordenode/node"
)

// s3Flags say where a node keeps images, if not in its data directory. The keys come from a
// file or the environment, never from the command line, which others can see.
type s3Flags struct {
	S3Endpoint       string `name:"s3-endpoint" help:"S3-compatible store that images are kept in instead of the data directory." placeholder:"URL"`
	S3PublicEndpoint string `name:"s3-public-endpoint" help:"Where clients and workers reach that store, if not there." placeholder:"URL"`
	S3Bucket         string `name:"s3-bucket" help:"Bucket of it; it must exist." placeholder:"NAME"`
	S3Prefix         string `name:"s3-prefix" help:"What keys begin with; the node's id is added." default:"hordenode/"`
	S3Region         string `name:"s3-region" help:"Region of the bucket." default:"us-east-1"`
	S3Keys           string `name:"s3-keys" help:"File of two lines, access key and secret key. Default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY." placeholder:"FILE" type:"path"`
	S3VirtualHost    bool   `name:"s3-virtual-host" help:"The bucket is part of the host's name."`
	S3Indirect       bool   `name:"s3-indirect" help:"Hand out no addresses of the store: all images go through the node."`
}

// config returns nil if no store is named.
func (f s3Flags) config(getenv func(string) string) (*node.S3Config, error) {
	if f.S3Endpoint == "" {
		if f.S3Bucket != "" {
			return nil, errors.New("--s3-bucket needs --s3-endpoint")
		}
		return nil, nil
	}
	if f.S3Bucket == "" {
		return nil, errors.New("--s3-endpoint needs --s3-bucket")
	}
	cfg := &node.S3Config{
		Endpoint: f.S3Endpoint, PublicEndpoint: f.S3PublicEndpoint, Bucket: f.S3Bucket, Prefix: f.S3Prefix, Region: f.S3Region,
		VirtualHost: f.S3VirtualHost, Indirect: f.S3Indirect,
	}
	if f.S3Keys == "" {
		cfg.Keys.Access = getenv("AWS_ACCESS_KEY_ID")
		cfg.Keys.Secret = node.S3Secret(getenv("AWS_SECRET_ACCESS_KEY"))
		if cfg.Keys.Access == "" || cfg.Keys.Secret == "" {
			return nil, errors.New("the store needs --s3-keys, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
		}
		return cfg, nil
	}
	var err error
	if cfg.Keys, err = node.ReadS3Keys(f.S3Keys); err != nil {
		return nil, fmt.Errorf("--s3-keys: %w", err)
	}
	return cfg, nil
}
