package namespace

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// starts tries what every container's start takes: one whose root is the program's own, and whose command is a folder. The error of
// its execution shows that all before went well.
func starts() Support {
	s := Support{Feature: "containers"}
	const strict = NoSuid | NoDev | NoExec
	l := &Launch{Args: []string{"/"}, Root: Dir("/"), ReadOnlyRoot: true, Hostname: "caisson"}
	for _, m := range []Mount{
		{Type: "proc", Target: "/proc", Flags: strict},
		{Type: "dev", Target: "/dev"},
		{Type: "sysfs", Target: "/sys", Flags: strict | ReadOnly},
	} {
		if st, err := os.Lstat(m.Target); err == nil && st.IsDir() { // else it would be made
			l.Mounts = append(l.Mounts, m)
		}
	}
	if !privileged() {
		l.UIDMappings = []IDMapping{{HostID: uint32(unix.Geteuid()), Size: 1}}
		l.GIDMappings = []IDMapping{{HostID: uint32(unix.Getegid()), Size: 1}}
	}
	p, err := l.Start(context.Background())
	if err == nil { // which no kernel lets happen
		_ = p.Close()
		err = errors.New("a folder was executed")
	}
	var e *StartError
	switch isStart := errors.As(err, &e); {
	case isStart && e.Step == "execve" && errors.Is(err, unix.EACCES):
		s.Available = true
	case isStart:
		s.Reason = (&StartError{Step: e.Step, Path: e.Path, Err: plain{e.Err}}).Error()
		if why, fix := confined(e); why != "" && errors.Is(err, errPermission) {
			s.Reason, s.Fix = s.Reason+"; "+why, fix
		}
	default:
		s.Reason = err.Error()
	}
	return s
}

// plain is an error of which nothing is known but its text: there is no hint to it.
type plain struct{ error }
