package engine

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// actions reads the events that are there: "type action" each.
func actions(t *testing.T, r *EventReader) (all []string) {
	t.Helper()
	for {
		ev, err := r.TryNext()
		require.NoError(t, err)
		if ev == nil {
			return all
		}
		all = append(all, ev.Type+" "+ev.Action)
	}
}

func TestEvents(t *testing.T) {
	e := newEngine(t)
	begin := time.Now()
	r, err := e.OpenEvents(time.Time{})
	require.NoError(t, err)
	defer r.Close()
	image := pullBusybox(t, e)
	c, err := e.Create(t.Context(), &Config{Image: image, Network: "none", Command: []string{"sh", "-c", "exit 3"}, Labels: map[string]string{"a": "b"}})
	require.NoError(t, err)
	run, err := e.Start(t.Context(), c.ID, nil)
	require.NoError(t, err)
	before, found := actions(t, r), make(chan Status)
	go func() { // whoever reads of the end finds it written down
		for {
			if ev, err := r.Next(t.Context()); err != nil || ev.Action == "die" {
				now, err := readRecord(e.path(c.ID))
				if err != nil {
					now = &Container{}
				}
				found <- now.State.Status
				return
			}
		}
	}()
	require.Error(t, run.Wait(t.Context()))
	require.Equal(t, Exited, <-found)
	require.NoError(t, e.Rename(t.Context(), c.ID, "other"))
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
	_, err = e.CreateVolume("vol", nil)
	require.NoError(t, err)
	require.NoError(t, e.RemoveVolume(t.Context(), "vol"))
	_, err = e.RemoveImage(t.Context(), image, nil)
	require.NoError(t, err)
	want := []string{
		"image pull", "container create", "container start", "container die", "container rename", "container destroy", "volume create",
		"volume destroy", "image untag", "image delete",
	}
	got := append(append(before, "container die"), actions(t, r)...)
	require.Equal(t, want, got) // of the image's layers, which are deleted, too, there is none

	// Another program of the folder reads the same, from the beginning.
	other, err := Open(t.Context(), e.dir, nil)
	require.NoError(t, err)
	defer other.Close()
	again, err := other.OpenEvents(begin)
	require.NoError(t, err)
	defer again.Close()
	for {
		ev, err := again.Next(t.Context())
		require.NoError(t, err)
		if ev.Action == "die" {
			require.Equal(t, c.ID, ev.ID)
			require.Equal(t, map[string]string{"a": "b", "name": c.Name, "image": image, "exitCode": "3", "execDuration": "0"}, ev.Attributes)
			break
		}
	}
	// And what this one does, though nothing wakes it.
	for len(actions(t, again)) > 0 {
	}
	e.Note(ContainerEvent, "exec_create", c.ID, nil)
	ev, err := again.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "exec_create", ev.Action)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Next(ctx)
	for err == nil { // those that are there come first
		_, err = r.Next(ctx)
	}
	require.ErrorIs(t, err, context.Canceled)
}

// TestEventsTurn: readers miss nothing when the file is exchanged, and see what is whole of one that a crash has left.
func TestEventsTurn(t *testing.T) {
	e := newEngine(t)
	begin := time.Now()
	r, err := e.OpenEvents(time.Time{})
	require.NoError(t, err)
	defer r.Close()
	pad := map[string]string{"pad": strings.Repeat("x", maxEvent-1000)}
	n := 3 * maxEvents / (maxEvent - 1000)
	for i := range n {
		e.Note(ContainerEvent, fmt.Sprint(i), "id", pad)
		if i%20 == 0 { // it is there between two exchanges, and behind the last
			continue
		}
		ev, err := r.TryNext()
		require.NoError(t, err)
		require.NotNil(t, ev)
	}
	all := actions(t, r)
	require.Equal(t, fmt.Sprintf("container %d", n-1), all[len(all)-1])
	require.Len(t, all, (n+19)/20)

	since, err := e.OpenEvents(begin)
	require.NoError(t, err)
	defer since.Close()
	kept := actions(t, since)
	require.Greater(t, len(kept), maxEvents/maxEvent)
	require.Less(t, len(kept), n)
	require.Equal(t, fmt.Sprintf("container %d", n-1), kept[len(kept)-1])

	f, err := os.OpenFile(e.eventsPath("log"), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteString("{\"Time\":torn\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	e.Note(ContainerEvent, "behind", "id", map[string]string{"long": strings.Repeat("x", maxEvent)})
	ev, err := since.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "behind", ev.Action)
	require.Empty(t, ev.Attributes)
}

// TestSupervisorWritesEnds: with Ends nobody needs to look for a container's end to be written down.
func TestSupervisorWritesEnds(t *testing.T) {
	testenv.ReapOrphans(t) // the keeper
	e := newEngine(t)
	image := pullBusybox(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- e.Supervise(ctx, &SuperviseOptions{Ends: true, Ready: func() { close(ready) }}) }()
	<-ready
	r, err := e.OpenEvents(time.Time{})
	require.NoError(t, err)
	defer r.Close()
	c, err := e.Create(t.Context(), &Config{Image: image, Network: "none", Command: []string{"sh", "-c", "exit 4"}, AutoRemove: true})
	require.NoError(t, err)
	run, err := e.Start(t.Context(), c.ID, &StartOptions{Detach: true})
	require.NoError(t, err)
	require.NoError(t, run.Leave())
	code := ""
	for {
		ev, err := r.Next(t.Context())
		require.NoError(t, err)
		if ev.Action == "die" {
			code = ev.Attributes["exitCode"]
		}
		if ev.Action == "destroy" {
			break
		}
	}
	require.Equal(t, "4", code)
	cancel()
	require.NoError(t, <-done)
}
