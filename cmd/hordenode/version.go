package main

import (
	"fmt"
	"runtime"
)

// version is set by the linker (see the Makefile).
var version = "dev"

type versionCmd struct{}

// Run prints the version, and what it was built with.
func (versionCmd) Run(a *app) error {
	_, err := fmt.Fprintf(a.stdout, "hordenode %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
