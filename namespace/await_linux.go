package namespace

import (
	"context"
	"fmt"
	"time"
)

// AwaitEnd waits until a process that [FindProcess] found has ended, whosever child it is, or until ctx has. How it ended is not known.
func (p *Process) AwaitEnd(ctx context.Context) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return fmt.Errorf("await the end of process %d: %w", p.pid, err)
	}
	_ = p.pidfd.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = p.pidfd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = conn.Read(func(fd uintptr) bool { return ended(int(fd)) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("await the end of process %d: %w", p.pid, err)
	}
	return nil
}
