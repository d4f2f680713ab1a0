# Go and make are all that is needed. `make` builds bin/hordenode.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
# Pinned, and run from its module: it is no dependency of ours.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build run test race lint clients faults conformance bench clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/hordenode ./cmd/hordenode

# A federation of one in ./hordenode-data, on 127.0.0.1:7001. ARGS="--api 127.0.0.1:7002"
run: build
	bin/hordenode run $(ARGS)

test:
	go vet ./...
	go test -timeout 10m ./...

race:
	go test -race -timeout 20m ./...

lint:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'ed:"; gofmt -l .; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

# Unmodified clients from npm against three processes. Needs node and npm.
clients:
	go test -tags clients -count=1 -timeout 10m -v ./internal/acceptance

# kill -9, restarts, damaged files, full disks with real processes: about four minutes. The
# long ones: make faults FAULTS="-run Long".
FAULTS ?=
faults:
	go test -tags faults -count=1 -timeout 30m -v ./internal/acceptance $(FAULTS)

# Recorded exchanges of the reference server against one node and three. The runner is not
# part of this repository.
CONFORMANCE ?= ../shared/conformance
conformance:
	CONFORMANCE=$(abspath $(CONFORMANCE)) go test -tags conformance -count=1 -timeout 15m -v ./internal/acceptance

# Everything, on federations of one and three nodes; about five minutes. ARGS="--rounds 5 --json"
bench: build
	bin/hordenode bench all $(ARGS)

clean:
	rm -rf bin
