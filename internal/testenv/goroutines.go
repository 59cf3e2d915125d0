package testenv

import (
	"runtime"
	"strings"
)

// goroutines returns the stacks of all goroutines except this one and those that the standard library starts once and
// keeps, by goroutine number.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := make(map[string]string)
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i == 0 || ownedByStandardLibrary(stack) { // the first is this goroutine
			continue
		}
		head, _, _ := strings.Cut(stack, " [")
		all[head] = strings.TrimPrefix(stack, "goroutine ")
	}
	return all
}

func ownedByStandardLibrary(stack string) bool {
	for _, f := range []string{
		"os/signal.signal_recv", "os/signal.loop", "runtime.ensureSigM", "runtime/pprof.profileWriter",
		"testing.(*M).startAlarm", "testing.runFuzzing", "created by runtime.",
	} {
		if strings.Contains(stack, f) {
			return true
		}
	}
	return false
}
