package namespace

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/thread"
)

// TestPrepared: a process in a network namespace that was made before it finds itself as any.
func TestPrepared(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(testenv.NewRootfs(t, "describe", "namespaces"))
	whole, s := output(t, ociLaunch(root, "describe"))
	require.Zero(t, s.Code)

	l := ociLaunch(root, "describe")
	l.Prepared = Prepare(true)
	defer l.Prepared.Close()
	text, s := output(t, l)
	require.Zero(t, s.Code)
	plain := func(s string) string { return anyNumber.ReplaceAllString(s, " N") }
	require.Equal(t, plain(whole), plain(text))

	l = ociLaunch(root, "namespaces")
	l.Prepared = Prepare(true)
	defer l.Prepared.Close()
	<-l.Prepared.done
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(l.Prepared.fd, &st))
	text, _ = output(t, l)
	require.Contains(t, text, fmt.Sprintf("net:[%d]", st.Ino))

	// It serves one start.
	l.Stdout, l.Stderr = nil, nil
	_, err := l.Start(t.Context())
	var start *StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, "network namespace", start.Path)
	require.ErrorIs(t, err, unix.EBADF)
}

// TestPreparedUnused: what no process was started in is given up; without a network namespace a start makes its own.
func TestPreparedUnused(t *testing.T) {
	testenv.RequireRoot(t)
	p := Prepare(true)
	<-p.done
	require.NoError(t, p.err)
	fd := p.fd
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	p.Close()
	p.Close()

	l := ociLaunch(Dir(trueRootfs(t)), "true")
	l.Prepared = p
	_, err = l.Start(t.Context())
	require.ErrorIs(t, err, unix.EBADF)

	l.Prepared = Prepare(false)
	defer l.Prepared.Close()
	proc, err := l.Start(t.Context())
	require.NoError(t, err)
	state, err := proc.Wait(t.Context())
	require.NoError(t, err)
	require.Zero(t, state.Code)
	require.NoError(t, proc.Close())
}

func TestPreparedRefused(t *testing.T) {
	p := &Prepared{network: true}
	for name, change := range map[string]func(*Launch){
		"host":   func(l *Launch) { l.Namespaces.Network.Host = true },
		"joined": func(l *Launch) { l.Namespaces.Network.Join = os.Stdin },
		"user": func(l *Launch) {
			l.UIDMappings, l.GIDMappings = []IDMapping{{Size: 1}}, []IDMapping{{Size: 1}}
		},
		"joined user": func(l *Launch) { l.Namespaces.User.Join = os.Stdin },
		"kept":        func(l *Launch) { l.Keep = &Keep{Dir: t.TempDir()} },
	} {
		t.Run(name, func(t *testing.T) {
			l := &Launch{Args: []string{"true"}, Root: Dir("/"), Prepared: p}
			change(l)
			_, err := l.Program()
			var start *StartError
			require.ErrorAs(t, err, &start)
			require.Equal(t, "Prepared", start.Path, err)
		})
	}
}

// TestLeave: the thread is on another processor, and may run on all that it could before.
func TestLeave(t *testing.T) {
	moved, processors := 0, 0
	for range 20 {
		require.NoError(t, thread.Run(func() error {
			var before, after unix.CPUSet
			if err := unix.SchedGetaffinity(0, &before); err != nil {
				return err
			}
			here := processor()
			leave(here)
			if processor() != here {
				moved++
			}
			processors = before.Count()
			if err := unix.SchedGetaffinity(0, &after); err != nil {
				return err
			}
			if after != before {
				return errors.New("it is bound to some processors")
			}
			return nil
		}))
	}
	if processors > 1 { // at once it may be moved back, but not each time
		require.Positive(t, moved)
	}
}
