package namespace

import (
	"bytes"
	"os"
)

// filtered says whether a seccomp filter confines the program.
func filtered() bool {
	b, err := os.ReadFile("/proc/self/status")
	return err == nil && bytes.Contains(b, []byte("\nSeccomp:\t2\n"))
}

// What helps in a container that is to start others.
const (
	fixFilter = "give the container that the program is in CAP_SYS_ADMIN, CAP_NET_ADMIN and a filter that allows unshare and mount, as " +
		"--privileged does; or no filter and no masked paths: --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
	fixProc = "the container that the program is in takes --security-opt systempaths=unconfined, or --privileged"
)

// confinedHint says what may help against an error that a container around the program causes.
func confinedHint(e *StartError) string {
	why, fix := confined(e)
	switch {
	case why == "":
		return ""
	case fix != "":
		why += ": " + fix
	}
	return " (" + why + ")"
}

// confined says what of a container around the program causes an error, and what may help.
func confined(e *StartError) (why, fix string) {
	switch s := string(e.Step); {
	case (s == "unshare" || s == "clone") && filtered():
		return "starting containers takes root, or CAP_SYS_ADMIN, and a seccomp filter confines the program, as in a container", fixFilter
	case (s == "sethostname" || s == "setdomainname" || s == "setns") && filtered():
		return "a seccomp filter confines the program, as in a container", fixFilter
	case s == "fsmount" && e.Path == "proc":
		return "a proc may be mounted in a user namespace only where another one is seen whole", fixProc
	case s == "ioctl" && e.Path == "lo":
		return "the loopback interface of a new network namespace takes CAP_NET_ADMIN", ""
	}
	return "", ""
}
