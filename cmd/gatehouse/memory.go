package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// containerLimit is where Linux tells how much memory this container may use (cgroup v2).
const containerLimit = "/sys/fs/cgroup/memory.max"

// boundMemory makes the runtime collect garbage in time where a container bounds memory, so that a flood of requests costs
// processor time before it costs the process (row H11). Whoever sets GOMEMLIMIT has decided otherwise.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	text, err := os.ReadFile(containerLimit)
	if err != nil {
		return // no container, or another system
	}
	if limit := nineTenths(string(text)); limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// collectLater spares the start most of the work on garbage, of which compiling the rules and the contracts makes much: on a
// busy machine that is two fifths of the time to the first answer, for 30 MB more while it lasts. Usual brings back how
// requests are served. Whoever sets GOGC has decided otherwise.
func collectLater() (usual func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(400)
	return func() { debug.SetGCPercent(before) }
}

// nineTenths leaves a tenth for what the runtime does not count: stacks of the system, and files in memory. 0 is no limit.
func nineTenths(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n <= 0 { // the word max
		return 0
	}
	return n / 10 * 9
}
