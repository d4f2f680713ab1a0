package main

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitMemory sets the soft limit of Go's heap to 60 % of what this process may use, unless
// the user chose one with GOMEMLIMIT: the rest is for what Badger maps and the kernel caches.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := memoryLimit(os.ReadFile); limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// memoryLimit returns 60 % of the smallest limit that is told: the control group's, version
// 2 or 1, or the machine's memory. 0 means that nothing is known.
func memoryLimit(read func(string) ([]byte, error)) int64 {
	budget := int64(math.MaxInt64)
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if b, err := read(path); err == nil {
			if v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && v > 0 { // or "max"
				budget = min(budget, v)
			}
		}
	}
	if b, err := read("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
				if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil && kb > 0 {
					budget = min(budget, kb<<10)
				}
			}
		}
	}
	if budget == math.MaxInt64 {
		return 0
	}
	return budget / 10 * 6
}
