package container

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/caisson-engine/caisson/namespace"
)

// NetworkFiles returns the new network namespace of a container that an ordinary user's program starts, and the user namespace that
// owns it, whose files in /proc/PID/ns are closed to it. They are for Setup, and are closed when that returns. Of other containers, and at
// other times, both are nil.
func (c *Container) NetworkFiles() (network, user *os.File) { return c.netFiles[0], c.netFiles[1] }

// handNetwork has the process send its network namespace, where Setup has no other way to it. receive takes what it sent; it is false
// if the process has ended, and says why elsewhere. done closes what is open.
func (c *Container) handNetwork(l *namespace.Launch) (receive func(context.Context) (bool, error), done func(), err error) {
	if c.Setup == nil || !l.HandsNetwork() {
		return func(context.Context) (bool, error) { return true, nil }, func() {}, nil
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, &StartError{Step: "socketpair", Path: "network", Err: err}
	}
	l.NetworkTo = theirs
	done = func() {
		for _, f := range []*os.File{ours, theirs, c.netFiles[0], c.netFiles[1]} {
			if f != nil {
				_ = f.Close()
			}
		}
		c.netFiles = [2]*os.File{}
	}
	receive = func(ctx context.Context) (bool, error) {
		_ = theirs.Close()
		stop := context.AfterFunc(ctx, func() { _ = ours.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		for i, name := range []string{"network namespace", "user namespace"} {
			f, err := namespace.ReceiveFile(ours, name)
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			if err != nil {
				return false, &StartError{Step: "receive", Path: name, Err: errors.Join(ctx.Err(), err)}
			}
			c.netFiles[i] = f
		}
		return true, nil
	}
	return receive, done, nil
}
