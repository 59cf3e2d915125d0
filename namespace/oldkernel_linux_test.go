package namespace

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestOlderKernels denies each of the newer calls, and together all that there are ways around, to the program and to what it
// starts: a container, a command in it and a container in a user namespace start, or the error names what is missing.
func TestOlderKernels(t *testing.T) {
	testenv.RequireRoot(t)
	for name, x := range map[string]struct {
		calls              []uint32
		start, join, users string // what the error says, "" for none
	}{
		"close_range":   {calls: []uint32{unix.SYS_CLOSE_RANGE}, start: "close_range takes Linux ≥ 5.9"},
		"openat2":       {calls: []uint32{unix.SYS_OPENAT2}, start: "openat2 takes Linux ≥ 5.6"},
		"clone3":        {calls: []uint32{unix.SYS_CLONE3}},
		"pidfd_getfd":   {calls: []uint32{unix.SYS_PIDFD_GETFD}},
		"mount_setattr": {calls: []uint32{unix.SYS_MOUNT_SETATTR}, users: "mount_setattr(2) needs Linux 5.12"},
		"fsopen":        {calls: []uint32{unix.SYS_FSOPEN}, start: "fsopen takes Linux ≥ 5.2"},
		"open_tree":     {calls: []uint32{unix.SYS_OPEN_TREE}, start: "open_tree takes Linux ≥ 5.2"},
		"move_mount":    {calls: []uint32{unix.SYS_MOVE_MOUNT}, start: "move_mount takes Linux ≥ 5.2"},
		"pidfd_open":    {calls: []uint32{unix.SYS_PIDFD_OPEN}},
		"faccessat2":    {calls: []uint32{unix.SYS_FACCESSAT2}},
		"all with a way around": {calls: []uint32{unix.SYS_CLONE3, unix.SYS_MOUNT_SETATTR, unix.SYS_PIDFD_GETFD, unix.SYS_FACCESSAT2},
			users: "mount_setattr(2) needs Linux 5.12"},
	} {
		if testing.Short() && len(x.calls) == 1 && name != "openat2" { // each is a process of its own
			continue
		}
		t.Run(name, func(t *testing.T) {
			if !again(t, func(cmd *exec.Cmd) (err error) {
				onThrowawayThread(func() {
					if err = answerENOSYS(x.calls...); err == nil {
						err = cmd.Run()
					}
				})
				var exit *exec.ExitError
				if x.start+x.users != "" && errors.As(err, &exit) {
					return nil // the tests' own set-up says that it failed, too; again looks whether this test passed
				}
				return err
			}) {
				return
			}
			check := func(what, want string, err error) {
				t.Helper()
				if want == "" {
					require.NoError(t, err, what)
				} else {
					require.ErrorContains(t, err, want, what)
				}
			}
			run := func(l *Launch) error {
				p, err := l.Start(t.Context())
				if err != nil {
					return err
				}
				_, err = p.Wait(t.Context())
				require.NoError(t, err)
				return p.Close()
			}
			dir := testenv.NewRootfs(t, "describe", "namespaces", "sleep")
			check("start", x.start, run(defaultLaunch(Dir(dir), "describe")))
			if p, err := defaultLaunch(Dir(dir), "sleep", "1m").Start(t.Context()); err == nil {
				check("join", x.join, run(joinLaunch(p, "namespaces")))
				require.NoError(t, p.Signal(unix.SIGKILL))
				_, err = p.Wait(t.Context())
				require.NoError(t, err)
				require.NoError(t, p.Close())
			}
			users := x.users
			if users == "" {
				users = x.start
			}
			check("users", users, run(userLaunch(dir, "describe")))
		})
	}
}
