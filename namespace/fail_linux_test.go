package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

// TestFailEachStep fails every step of a default start in turn: the error names the step, and nothing stays.
func TestFailEachStep(t *testing.T) {
	testenv.RequireRoot(t)
	failEachStep(t, failLaunch(t))
}

func failEachStep(t *testing.T, l *Launch) {
	t.Helper()
	p, err := l.Program()
	require.NoError(t, err)
	run(t, l)
	before := descriptors(t)
	ran, stride := 0, 1
	if testing.Short() {
		stride = 5
	}
	for k := 0; k < p.Len(); k += stride {
		name := ""
		l.edit = func(p *Program) {
			s := &p.steps[k]
			name = s.name
			s.op, s.n, s.first, s.fail = opFail, 1, len(p.args), 0
			p.args = append(p.args, num(int(syscall.EUCLEAN)))
		}
		proc, err := l.Start(t.Context())
		if err == nil { // a step that this start does not come to
			_, err := proc.Wait(t.Context())
			require.NoError(t, err)
			require.NoError(t, proc.Close())
			continue
		}
		ran++
		var start *StartError
		require.ErrorAs(t, err, &start)
		require.ErrorIs(t, err, syscall.EUCLEAN)
		require.Equal(t, name, start.Step)
	}
	require.Greater(t, ran, p.Len()/2/stride)
	require.Equal(t, before, descriptors(t))
}

// TestFailEachFile fails every descriptor that the host program opens.
func TestFailEachFile(t *testing.T) {
	testenv.RequireRoot(t)
	failEachFile(t, failLaunch(t))
}

func failEachFile(t *testing.T, l *Launch) {
	t.Helper()
	p, err := l.Program()
	require.NoError(t, err)
	run(t, l)
	before := descriptors(t)
	for k := range p.files {
		if p.files[k].open == nil {
			continue
		}
		l.edit = func(p *Program) {
			p.files[k].open = func() (int, bool, error) { return -1, false, syscall.EUCLEAN }
		}
		_, err := l.Start(t.Context())
		require.ErrorIs(t, err, syscall.EUCLEAN)
		require.Equal(t, before, descriptors(t))
	}
}

// TestStartContext ends the context in the middle of the set-up.
func TestStartContext(t *testing.T) {
	testenv.RequireRoot(t)
	l := failLaunch(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	l.Gate = r
	before := descriptors(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = l.Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = l.Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, before, descriptors(t))
}

func TestGate(t *testing.T) {
	testenv.RequireRoot(t)
	l := failLaunch(t)
	for _, open := range []bool{true, false} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		l.Gate = r
		go func() {
			time.Sleep(10 * time.Millisecond)
			if open {
				_, _ = w.Write([]byte{1})
			}
			_ = w.Close()
		}()
		p, err := l.Start(t.Context())
		require.NoError(t, r.Close())
		if open {
			require.NoError(t, err)
			_, err = p.Wait(t.Context())
			require.NoError(t, err)
			require.NoError(t, p.Close())
		} else {
			require.ErrorIs(t, err, syscall.ECANCELED)
		}
	}
}

func failLaunch(t *testing.T) *Launch {
	dir := trueRootfs(t)
	data := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(data, "file"), nil, 0o644))
	l := defaultLaunch(Dir(dir), "true")
	l.Mounts = append(l.Mounts, Mount{Type: "bind", Source: data, Target: "/data/deep/er", Recursive: true, Flags: ReadOnly},
		Mount{Type: "bind", Source: filepath.Join(data, "file"), Target: "/etc/file"},
		Mount{Type: "tmpfs", Target: "/run", Data: "size=1m,mode=700"})
	l.Rlimits = []Rlimit{{Resource: 7, Soft: 100, Hard: 100}}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "srv/deep"), 0o755))
	l.Mounts = append(l.Mounts, Mount{Type: "tmpfs", Target: "/srv", CopyUp: true, Flags: ReadOnly},
		Mount{Type: "bind", Source: data, Target: "/top", TopFlags: ReadOnly, Recursive: true})
	l.MaskedPaths, l.ReadOnlyPaths = append(l.MaskedPaths, "/data/file"), append(l.ReadOnlyPaths, "/srv/deep")
	l.ReadOnlyRoot, l.RootPropagation = true, Shared
	l.Attributes = everyAttribute()
	return l
}

func descriptors(t *testing.T) (names []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		l, err := os.Readlink("/proc/self/fd/" + e.Name())
		if !errors.Is(err, os.ErrNotExist) {
			names = append(names, e.Name()+" "+l)
		}
	}
	return names
}

// TestFailureOfSeveral: neither the news that precede a failure nor another failure behind it make it another one.
func TestFailureOfSeveral(t *testing.T) {
	p := newProgram()
	p.steps = append(p.steps, step{name: "mount", path: "/x"}, step{name: "chdir", path: "/y"})
	s := newStarter(&Launch{}, p)
	report := func(k int, errno syscall.Errno) []byte {
		b := binary.NativeEndian.AppendUint64(nil, p.stepsAddr()+uint64(k)*stepSize)
		return binary.NativeEndian.AppendUint64(b, uint64(errno))
	}
	first, second := report(0, syscall.EUCLEAN), report(1, syscall.EPERM)
	for _, b := range [][]byte{
		first, slices.Concat([]byte("r"), first), slices.Concat([]byte("rw"), first), slices.Concat(first, second),
		slices.Concat([]byte("pr"), first, second),
	} {
		require.EqualError(t, s.failure(b), "start container: mount /x: structure needs cleaning")
	}
	require.ErrorIs(t, s.failure(first[:3]), syscall.EBADMSG)
}
