package pricing

import (
	"strconv"
	"strings"
)

// BridgePPM returns the part of an image reward that a worker's owner earns, in millionths:
// all of it with the newest official worker software, 0.9 with an older one, 0.75 with
// anything else (spec/kudos.md section 5).
func BridgePPM(bridgeAgent string) int64 {
	name, major := ParseAgent(bridgeAgent)
	var newest uint64
	switch name {
	case "AI Horde Worker reGen":
		newest = 13
	case "AI Horde Worker":
		newest = 24
	default:
		return million * 3 / 4
	}
	if major < newest {
		return million * 9 / 10
	}
	return million
}

// ValidatedBackend tells whether text from this worker software is paid in full; the rest
// is paid 0.3 of it.
func ValidatedBackend(bridgeAgent string) bool {
	switch name, _ := ParseAgent(bridgeAgent); name {
	case "AI Horde Worker", "AI Horde Worker~aphrodite~oai", "AI Horde Worker~aphrodite~kai",
		"KoboldCppEmbedWorker", "TabbyAPI":
		return true
	}
	return false
}

// ParseAgent splits name:version:link and reads the major version. Prereleases of a version
// sort below it. What cannot be read is called unknown.
func ParseAgent(agent string) (name string, major uint64) {
	parts := strings.SplitN(agent, ":", 3)
	if len(parts) != 3 {
		return "unknown", 0
	}
	version, _, _ := strings.Cut(parts[1], "+")
	version, _, pre := strings.Cut(version, "-")
	numbers := strings.Split(version, ".")
	if len(numbers) > 3 {
		return "unknown", 0
	}
	for i, s := range numbers {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return "unknown", 0
		}
		if i == 0 {
			major = n
		} else if n > 0 {
			pre = false // 13.1.0-rc1 is above 13
		}
	}
	if pre && major > 0 {
		major--
	}
	return parts[0], major
}
