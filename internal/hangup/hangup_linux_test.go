package hangup

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m, nil) }

func TestWatch(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()
	gone := make(chan struct{})
	Watch(t.Context(), server, func() { close(gone) })
	require.NoError(t, client.(*net.UnixConn).CloseWrite()) // it still reads
	select {
	case <-gone:
		t.Fatal("it has not gone")
	case <-time.After(3 * every):
	}
	require.NoError(t, client.Close())
	<-gone

	// It does not outlive its context, nor this end.
	ctx, cancel := context.WithCancel(t.Context())
	Watch(ctx, server, func() {})
	cancel()
}

func TestRead(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()
	Read(server, time.Hour) // nothing was written
	_, err = server.Write([]byte("head"))
	require.NoError(t, err)
	Read(server, time.Millisecond) // it is not read
	done := make(chan struct{})
	go func() {
		defer close(done)
		Read(server, time.Hour)
	}()
	select {
	case <-done:
		t.Fatal("nobody has read it")
	case <-time.After(20 * time.Millisecond):
	}
	_, err = client.Read(make([]byte, 4))
	require.NoError(t, err)
	<-done
}
