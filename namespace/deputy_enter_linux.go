package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// deputyLaunch is that of a stub in this program's namespaces.
func deputyLaunch() *Launch {
	host := Namespace{Host: true}
	return &Launch{
		Args:       []string{"true"},
		Namespaces: Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host},
	}
}

// NewDeputy starts one in a new user namespace with these maps: those of [OwnMappings] if both are nil. ctx bounds the
// start. The error is a *[StartError].
func NewDeputy(ctx context.Context, uids, gids []IDMapping) (_ *Deputy, err error) {
	if uids == nil && gids == nil {
		uids, gids = OwnMappings()
	}
	l := deputyLaunch()
	l.UIDMappings, l.GIDMappings = uids, gids
	if err := l.validateUser(); err != nil {
		return nil, err
	}
	return newDeputy(ctx, l)
}

// becomeRoot makes the stub root of the user namespace, new or joined, once it has its maps.
func (c *compiler) becomeRoot() {
	if join := c.l.Namespaces.User.Join; join == nil {
		c.call("unshare", unix.SYS_UNSHARE, flags(unix.CLONE_NEWUSER, cloneNames)).about("user namespace")
	} else {
		fd := c.file("user namespace", useFile(join))
		c.call("setgroups", unix.SYS_SETGROUPS, num(0), null)
		c.ignore(errnoSet(int(unix.EPERM)))
		c.notDumpable() // there may be processes in it
		c.call("setns", unix.SYS_SETNS, fd, flags(unix.CLONE_NEWUSER, cloneNames)).about("user namespace")
	}
	c.send(c.str("m"), 1)
	c.await("user namespace's maps")
	c.call("setresgid", unix.SYS_SETRESGID, num(0), num(0), num(0)).about("root of the user namespace")
	c.call("setresuid", unix.SYS_SETRESUID, num(0), num(0), num(0)).about("root of the user namespace")
}

// endWith ends the process when ctx ends, and what is waited for at its socket, too: if it is frozen with its control group, it
// ends later.
func (d *Deputy) endWith(ctx context.Context, sock *os.File) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		_ = d.proc.Signal(syscall.SIGKILL)
		_ = sock.SetDeadline(time.Unix(1, 0))
	})
}

// end ends the process, whose user namespace is kept until Close: between two calls it has nothing to finish.
func (d *Deputy) end() {
	_ = d.proc.Signal(syscall.SIGKILL)
	_, _ = d.wait()
}

func (d *Deputy) wait() (*State, error) {
	ctx, cancel := context.WithTimeout(context.Background(), discarding)
	defer cancel()
	return d.proc.Wait(ctx)
}

// fate adds to the error of a call how the process ended, if it has.
func (d *Deputy) fate(err error) error {
	if !errors.Is(err, ErrDeputyEnded) {
		return err
	}
	if state, e := d.wait(); e == nil && state.Signal != 0 {
		return fmt.Errorf("%w: it was killed by signal %d (%s), by another process or for want of memory in its control group", err,
			state.Signal, syscall.Signal(state.Signal))
	}
	return err
}
