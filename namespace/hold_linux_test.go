package namespace

import (
	"context"
	"io"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

func TestHold(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(testenv.NewRootfs(t, "describe"))
	whole, s := output(t, defaultLaunch(root, "describe"))
	require.Zero(t, s.Code)

	h, err := defaultLaunch(root).Hold(t.Context())
	require.NoError(t, err)
	require.True(t, h.Alive())
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	l := defaultLaunch(root, "describe")
	l.Stdout, l.Stderr = w, w
	p, err := h.Start(t.Context(), l)
	require.NoError(t, w.Close())
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	number := regexp.MustCompile(`State:.*|\s*\b\d+`)
	plain := func(s string) string { return number.ReplaceAllString(s, " N") }
	require.Equal(t, plain(whole), plain(string(b)), "a held process finds itself as one that was started whole")
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.NoError(t, h.Close())
	_, err = h.Start(t.Context(), l)
	require.ErrorIs(t, err, ErrHeldUsed)
}

// The process of a Held that is closed, of one whose command fails, and of one that was killed is gone.
func TestHeldLeavesNothing(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(trueRootfs(t))
	before := descriptors(t)
	hold := func() *Held {
		h, err := defaultLaunch(root).Hold(t.Context())
		require.NoError(t, err)
		return h
	}
	h := hold()
	require.NoError(t, h.Close())
	require.NoError(t, h.Close())
	require.False(t, h.Alive())

	var start *StartError
	_, err := hold().Start(t.Context(), defaultLaunch(root, "nothing"))
	require.ErrorAs(t, err, &start)
	require.ErrorIs(t, err, syscall.ENOENT)
	require.Equal(t, "execve", start.Step)

	l := defaultLaunch(root, "true")
	for range 60 {
		l.ExtraFiles = append(l.ExtraFiles, os.Stdin)
	}
	_, err = hold().Start(t.Context(), l)
	require.ErrorContains(t, err, "63 are more than 62")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = hold().Start(ctx, defaultLaunch(root, "true"))
	require.ErrorIs(t, err, context.Canceled)
	_, err = defaultLaunch(root).Hold(ctx)
	require.ErrorIs(t, err, context.Canceled)

	h = hold()
	require.NoError(t, h.Process().Signal(syscall.SIGKILL))
	require.Eventually(t, func() bool { return !h.Alive() }, time.Minute, time.Millisecond)
	_, err = h.Start(t.Context(), defaultLaunch(root, "true"))
	require.ErrorAs(t, err, &start)
	require.Equal(t, before, descriptors(t))
}

// TestHeldFailEachStep fails every step of the set-up and of the rest in turn.
func TestHeldFailEachStep(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(trueRootfs(t))
	l := defaultLaunch(root, "true")
	l.Rlimits = []Rlimit{{Resource: 7, Soft: 100, Hard: 100}}
	before := descriptors(t)
	failing := func(k int, name *string) func(*Program) {
		return func(p *Program) {
			if *name = ""; k >= p.Len() {
				return
			}
			s := &p.steps[k]
			*name = s.name
			s.op, s.n, s.first, s.fail = opFail, 1, len(p.args), 0
			p.args = append(p.args, num(int(syscall.EUCLEAN)))
		}
	}
	set, rest := newProgram(), newProgram()
	require.NoError(t, l.compileHold(set))
	require.NoError(t, l.compileHeld(rest))
	failed, wanted, stride := 0, set.Len()/2+rest.Len()/2, 1
	if testing.Short() {
		stride = 5
	}
	for k := 0; k < max(set.Len(), rest.Len()); k += stride {
		var start *StartError
		var first, second string
		a, b := *l, *l
		a.edit, b.edit = failing(k, &first), failing(k, &second)
		if h, err := a.Hold(t.Context()); err == nil {
			require.NoError(t, h.Close())
		} else {
			require.ErrorAs(t, err, &start)
			require.ErrorIs(t, err, syscall.EUCLEAN)
			require.Equal(t, first, start.Step)
			failed++
		}
		h, err := l.Hold(t.Context())
		require.NoError(t, err)
		p, err := h.Start(t.Context(), &b)
		if err == nil {
			_, err := p.Wait(t.Context())
			require.NoError(t, err)
			require.NoError(t, p.Close())
			continue
		}
		require.ErrorAs(t, err, &start)
		require.ErrorIs(t, err, syscall.EUCLEAN)
		require.Equal(t, second, start.Step)
		failed++
	}
	require.Greater(t, failed, wanted/stride)
	require.Equal(t, before, descriptors(t))
}

func TestHeldTerminal(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(testenv.NewRootfs(t, "describe"))
	h, err := defaultLaunch(root).Hold(t.Context())
	require.NoError(t, err)
	l := defaultLaunch(root, "describe")
	l.TTY = true
	p, err := h.Start(t.Context(), l)
	require.NoError(t, err)
	b, _ := io.ReadAll(p.TTY()) // EIO at its end
	require.NoError(t, p.TTY().Close())
	require.Contains(t, string(b), "hostname box\r\n")
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Close())
}
