package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// signalNames are the names of the signals from 1 on, without SIG.
const signalNames = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU " +
	"URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"

// The realtime signals that programs have; those below are the C library's own.
const rtMin, rtMax = 34, 64

// parseSignal reads a number, or a name with or without SIG, in any case: "9", "SIGKILL", "term", "RTMIN+3". 0 only asks
// whether the process is there.
func parseSignal(s string) (syscall.Signal, error) {
	unknown := fmt.Errorf("unknown signal %q", s)
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > rtMax {
			return 0, unknown
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for i, n := range strings.Fields(signalNames) {
		if n == name {
			return syscall.Signal(i + 1), nil
		}
	}
	switch name {
	case "IOT":
		return syscall.SIGABRT, nil
	case "CLD":
		return syscall.SIGCHLD, nil
	case "POLL":
		return syscall.SIGIO, nil
	case "RTMIN":
		return rtMin, nil
	case "RTMAX":
		return rtMax, nil
	}
	if rest, ok := strings.CutPrefix(name, "RTMIN+"); ok {
		if n, err := strconv.ParseUint(rest, 10, 8); err == nil && n <= rtMax-rtMin {
			return syscall.Signal(rtMin + n), nil
		}
	}
	if rest, ok := strings.CutPrefix(name, "RTMAX-"); ok {
		if n, err := strconv.ParseUint(rest, 10, 8); err == nil && n <= rtMax-rtMin {
			return syscall.Signal(rtMax - n), nil
		}
	}
	return 0, unknown
}
