package engine

import (
	"strconv"
	"strings"
)

// signals are Linux's, by name; their numbers are the same on amd64 and arm64.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
	"SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CLD": 17, "CONT": 18, "STOP": 19,
	"TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28, "IO": 29,
	"POLL": 29, "PWR": 30, "SYS": 31, "RTMIN": 34, "RTMAX": 64,
}

// ParseSignal returns the number of a signal: "SIGTERM", "term", "15", "RTMIN+3", "RTMAX-1".
func ParseSignal(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 64 {
			return 0, invalid("invalid signal: %s", s)
		}
		return n, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, ok := signals[name]; ok {
		return n, nil
	}
	for base, sign := range map[string]int{"RTMIN+": 1, "RTMAX-": -1} {
		rest, ok := strings.CutPrefix(name, base)
		if n, err := strconv.ParseUint(rest, 10, 8); ok && err == nil && n <= 30 {
			return signals[base[:5]] + sign*int(n), nil
		}
	}
	return 0, invalid("invalid signal: %s", s)
}
