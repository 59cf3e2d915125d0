// Package namespace starts processes in Linux namespaces.
//
// A start is data. A [Launch] says what the process shall find: its namespaces, root file system, mounts, credentials,
// descriptors. It is compiled to a [Program], an ordered list of system calls, which a tiny interpreter, the stub,
// executes in the new process before it executes the user's command. The host program is never run again, so a Go
// program needs nothing in its main to start containers; and a start can be printed and read before it happens.
//
// The smallest use, as root:
//
//	l := &namespace.Launch{Root: namespace.Dir("/srv/rootfs"), Args: []string{"/bin/date"}, Stdout: os.Stdout}
//	p, err := l.Start(ctx)
//	if err != nil {
//		return err // a *StartError: it never ran
//	}
//	state, err := p.Wait(ctx)
//
// It needs Linux 5.10 and, but for a process that shares all of the host's namespaces, CAP_SYS_ADMIN. It leaves nothing
// on disk. A program that has started a process keeps one descriptor for good, that of the template mount namespace.
package namespace
