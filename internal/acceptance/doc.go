// Package acceptance tests hordenode as its users meet it: the binary, started and joined
// by its command line, with real processes, real sockets and real clients. It has no code
// of its own but for its tests, which run behind build tags because they need more than Go
// or more time:
//
//	go test -tags clients ./internal/acceptance    clients from npm and PyPI; needs node, npm, Python 3.12, root
//	go test -tags faults  ./internal/acceptance    kill -9, restarts, bad disks and networks, a soak; root
//	go test -tags conformance ./internal/acceptance   recorded scenarios; CONFORMANCE names the runner
package acceptance
