# Go and make are all that is needed. `make` builds bin/hordenode.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
# Pinned, and run from its module: it is no dependency of ours.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build run test race lint clients browser faults conformance bench clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/hordenode ./cmd/hordenode

# A federation of one in ./hordenode-data, on 127.0.0.1:7001. ARGS="--api 127.0.0.1:7002"
run: build
	bin/hordenode run $(ARGS)

test:
	go vet ./...
	go test -timeout 10m ./...

race:
	go test -race -short -timeout 20m ./...

lint:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'ed:"; gofmt -l .; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

# The simulation of consensus and ledger with other seeds: make sim SEEDS=1000 FIRST=1
SEEDS ?= 100
FIRST ?=
.PHONY: sim
sim:
	SIM_SEEDS=$(SEEDS) SIM_FIRST=$(FIRST) go test -count=1 -timeout 24h -run 'TestSimulation$$' -v ./node

# The job plane in simulated time: make sim-jobs SEEDS=100 NODES=12 HOURS=2
NODES ?= 3
HOURS ?=
.PHONY: sim-jobs
sim-jobs:
	SIM_SEEDS=$(SEEDS) SIM_FIRST=$(FIRST) SIM_NODES=$(NODES) SIM_HOURS=$(HOURS) go test -count=1 -timeout 24h -run 'TestSimulation$$' -v ./node/jobs/sim

# Images in a bucket of a real S3 server, versitygw from its module.
.PHONY: s3
s3:
	go test -tags s3 -count=1 -timeout 15m -v -run TestRealServer ./node/blob

# Unmodified clients from the registries against one process and three: the npm library,
# SillyTavern, horde_sdk and its own tests. Needs node, npm, Python 3.12 and root (port 443 and
# a hosts file of its own). What it installs stays in the user's cache. make clients CLIENTS="-run SDK"
CLIENTS ?=
clients:
	go test -tags clients -count=1 -timeout 20m -parallel 4 -v ./internal/acceptance $(CLIENTS)

# The web pages in headless Chromium, with logins and hostile names; needs chromium. Pictures of
# all pages, for a screen and a phone: HORDENODE_SHOTS=/tmp/shots make browser
browser:
	go test -tags browser -count=1 -timeout 10m -run TestBrowser ./node/nodetest

# kill -9, restarts, damaged files, full disks, bad networks with real processes: about five
# minutes. docs/reliability.md has the list. One: make faults FAULTS="-run TestFault18"; the long
# ones: make faults FAULTS="-run Long".
FAULTS ?=
faults:
	go test -tags faults -count=1 -timeout 30m -parallel 4 -v ./internal/acceptance $(FAULTS)

# Three nodes under half of the load that they can bear, one killed every minute: an hour, or
# make soak DURATION=8h
DURATION ?= 1h
.PHONY: soak
soak:
	SOAK=$(DURATION) go test -tags faults -count=1 -timeout 24h -v -run 'TestSoak$$' ./internal/acceptance

# Recorded exchanges of the reference server against one node and three. The runner is not
# part of this repository.
CONFORMANCE ?= ../shared/conformance
conformance:
	CONFORMANCE=$(abspath $(CONFORMANCE)) go test -tags conformance -count=1 -timeout 15m -v ./internal/acceptance

# Everything, on federations of one and three nodes; about five minutes. ARGS="--rounds 5 --json"
bench: build
	bin/hordenode bench all $(ARGS)

# The ledger beside etcd v3.6, which a module of its own builds: P9 to P12, P14, P16 to P18 of the
# performance goals; five minutes on a quiet machine. ARGS="--only leader --rounds 5 --json"
.PHONY: bench-ledger
bench-ledger: build
	CGO_ENABLED=0 go build -C tools/etcdbench -trimpath -o $(CURDIR)/bin/etcdbench .
	bin/hordenode bench ledger --etcd bin/etcdbench --duration 2s --rounds 3 $(ARGS)

clean:
	rm -rf bin
