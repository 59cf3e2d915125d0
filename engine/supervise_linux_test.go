package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/control"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/network"
)

// supervise has another engine supervise the folder of e, until stop is called or the test ends.
func supervise(t *testing.T, e *Engine, idle time.Duration) (stop func()) {
	t.Helper()
	o := e.options
	o.StartSupervisor = nil
	other, err := Open(t.Context(), e.dir, &o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- other.Supervise(ctx, &SuperviseOptions{Idle: idle, Ready: func() { close(ready) }}) }()
	select {
	case <-ready:
	case err := <-done:
		require.NoError(t, err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, other.Close())
	}
	t.Cleanup(stop)
	return stop
}

// get fetches the page at a port of loopback, seen from the engine's network namespace.
func get(e *Engine, port uint16) (text string, err error) {
	err = onHost(e, func() (err error) {
		text, err = fetch(port)
		return err
	})
	return text, err
}

// onHost runs f on a thread in the engine's network namespace.
func onHost(e *Engine, f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread ends with its goroutine
		if e.options.NetworkNamespace != "" {
			ns, err2 := os.Open(e.options.NetworkNamespace)
			if err = err2; err != nil {
				return
			}
			defer ns.Close()
			if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return
			}
		}
		err = f()
	}()
	<-done
	return err
}

// occupy takes a port of loopback in the engine's network namespace.
func occupy(t *testing.T, e *Engine, port uint16) (free func()) {
	t.Helper()
	var l net.Listener
	require.NoError(t, onHost(e, func() (err error) {
		l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		return err
	}))
	return func() { require.NoError(t, l.Close()) }
}

// fetch connects in the calling thread's network namespace.
func fetch(port uint16) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20})
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	if _, err := io.WriteString(f, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	r, err := http.ReadResponse(bufio.NewReader(f), nil)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// TestSupervisor: the names, loopback ports and egress logs of detached containers are served by a supervisor, and by the next one when
// it has ended; in user mode their interfaces are its own.
func TestSupervisor(t *testing.T) {
	for _, user := range []bool{false, true} {
		t.Run(fmt.Sprintf("user mode %t", user), func(t *testing.T) { testSupervisor(t, user) })
	}
}

func testSupervisor(t *testing.T, user bool) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	if user {
		var err error
		e, err = Open(t.Context(), e.dir, &Options{UserNetworks: true})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
	}
	ctx := t.Context()
	stop := supervise(t, e, 0)
	for _, name := range []string{"net", "late"} {
		_, err := e.CreateNetwork(ctx, name, nil)
		require.NoError(t, err)
	}
	log := filepath.Join(t.TempDir(), "egress.log")
	rule, err := network.ParseEgress("allowed.example.org:80")
	require.NoError(t, err)
	web := detached(t, e, &Config{
		Image: image, Network: "net", Name: "web", Ports: []network.Port{{Container: 80, Address: netip.MustParseAddr("127.0.0.1")}},
		EgressLog: log, Egress: &network.Egress{Allow: []network.EgressRule{rule}},
	}, "mkdir /www; echo hello > /www/index.html; httpd -p 80 -h /www; exec sleep 600")
	web = mustInspect(t, e, web)
	require.True(t, web.State.Supervised)
	require.Len(t, web.Endpoints, 1)
	port := web.Endpoints[0].Ports[0].Host
	sees := func(network, name, page string) {
		t.Helper()
		out := outputOf(t, e, Config{Image: image, Network: network, Command: []string{"sh", "-c",
			"for i in 1 2 3 4 5 6 7 8 9; do busybox wget -qO - http://" + name + "/ && exit; sleep 0.5; done"}})
		require.Contains(t, out, page)
	}
	// In user mode containers of one program are neighbours.
	client := func() {
		t.Helper()
		require.Eventually(t, func() bool { // until its server is up
			text, err := get(e, port)
			return err == nil && text == "hello\n"
		}, time.Minute, 20*time.Millisecond)
		if !user {
			sees("net", "web", "hello")
		}
		r, err := e.Adopt(ctx, web.ID)
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Leave()) }()
		p := r.Process().Command("sh", "-c", "nslookup web; nslookup evil.example.org; true")
		p.Stdout = io.Discard
		require.NoError(t, p.Run(ctx))
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		require.Contains(t, string(text), `"allowed":false,"protocol":"dns","name":"evil.example.org"}`)
		require.NoError(t, os.Truncate(log, 0))
	}
	client()
	stop()
	_, err = get(e, port)
	require.Error(t, err, "nobody serves it")
	free := occupy(t, e, port) // and so somebody else takes its port, for a while
	stop = supervise(t, e, 0)
	free()
	client()
	again := mustInspect(t, e, web)
	require.Equal(t, web.Endpoints, again.Endpoints)

	// Connected and disconnected while it runs.
	require.NoError(t, e.Connect(ctx, "web", &Connection{Network: "late", Aliases: []string{"alias"}}))
	err = e.Connect(ctx, "web", &Connection{Network: "late"})
	require.ErrorContains(t, err, "endpoint with name web already exists in network late")
	var known *Error
	require.ErrorAs(t, err, &known)
	require.Equal(t, Conflict, known.Kind)
	all, err := e.Networks().Endpoints("late")
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Empty(t, all[0].Ports, "another network publishes them")
	require.NoError(t, e.Disconnect(ctx, "web", "net"))
	require.ErrorIs(t, e.Disconnect(ctx, "web", "net"), os.ErrNotExist)
	moved := mustInspect(t, e, web).Endpoints // the ports are the next network's
	require.Len(t, moved, 1)
	require.Equal(t, web.Endpoints[0].Ports, moved[0].Ports)
	text, err := get(e, port)
	require.NoError(t, err)
	require.Equal(t, "hello\n", text)
	if user {
		resolv, err := os.ReadFile(e.path(web.ID, "resolv.conf"))
		require.NoError(t, err)
		require.Contains(t, string(resolv), "nameserver "+mustNetwork(t, e, "late").Subnets[0].Gateway.String()+"\n")
	} else {
		sees("late", "alias", "hello")
	}
	require.NoError(t, e.Disconnect(ctx, "web", "late"))
	require.Empty(t, mustInspect(t, e, web).Networks)
	_, err = get(e, port)
	require.Error(t, err)
	require.NoError(t, e.Connect(ctx, "web", &Connection{Network: "net"})) // which publishes them again, there being no other
	back := mustInspect(t, e, web)
	require.Len(t, back.Networks, 1)
	require.Len(t, back.Endpoints, 1)
	text, err = get(e, back.Endpoints[0].Ports[0].Host)
	require.NoError(t, err)
	require.Equal(t, "hello\n", text)
	if user {
		resolv, err := os.ReadFile(e.path(web.ID, "resolv.conf"))
		require.NoError(t, err)
		require.Contains(t, string(resolv), "nameserver "+mustNetwork(t, e, "net").Subnets[0].Gateway.String()+"\n")
	}
	// When somebody hears of its end its ports are free, and its addresses.
	require.NoError(t, e.Stop(ctx, web.ID, 0))
	restarted, err := e.Start(ctx, web.ID, &StartOptions{Detach: true})
	require.NoError(t, err)
	require.NoError(t, restarted.Leave())
	// Who waits for the end of the first run, and missed the moment, is not there until the end of the second.
	moment, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	require.NoError(t, e.awaitEnd(moment, web.ID, web.State.Pid))
	require.NoError(t, e.Stop(ctx, web.ID, 0))
	all, err = e.Networks().Endpoints("net")
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoError(t, e.Remove(ctx, web.ID, nil))
	stop()
}

// TestSupervisorEnds: it ends when it has nothing to do, another cannot be beside it, and what it needs is started when it is needed.
func TestSupervisorEnds(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	var stops []func()
	e.options.StartSupervisor = func(context.Context) error {
		if e.supervisorThere(t.Context()) {
			return nil
		}
		stops = append(stops, supervise(t, e, 50*time.Millisecond))
		return nil
	}
	c := detached(t, e, &Config{Image: image, AutoRemove: true}, "sleep 600")
	require.Len(t, stops, 1)
	require.ErrorIs(t, e.Supervise(t.Context(), nil), os.ErrExist)
	stops[0]()
	require.False(t, e.supervisorThere(t.Context()))
	// It was killed, say: the next one who opens the folder starts one.
	other, err := Open(t.Context(), e.dir, &e.options)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.Len(t, stops, 2)
	// One that is removed when it ends is, though nobody asks.
	r, err := e.Adopt(t.Context(), c.ID)
	require.NoError(t, err)
	require.NoError(t, r.Process().Kill())
	require.NoError(t, r.Leave())
	require.Eventually(t, func() bool {
		_, err := os.Stat(e.path(c.ID))
		return err != nil && !e.supervisorThere(t.Context())
	}, time.Minute, 10*time.Millisecond)
}

// TestSupervisorRefuses: a container whose networks cannot be made does not start, and nothing is left.
func TestSupervisorRefuses(t *testing.T) {
	e := newEngine(t)
	testenv.ReapOrphans(t)
	image := pullBusybox(t, e)
	supervise(t, e, 0)
	start := func(cfg Config) error {
		t.Helper()
		cfg.Image, cfg.Command = image, []string{"sleep", "600"}
		c, err := e.Create(t.Context(), &cfg)
		require.NoError(t, err)
		_, err = e.Start(t.Context(), c.ID, &StartOptions{Detach: true})
		require.Error(t, err)
		require.NoError(t, e.Remove(t.Context(), c.ID, nil))
		return err
	}
	err := start(Config{Networks: []Connection{{Network: "bridge", IPv4: netip.MustParseAddr("10.0.0.1")}}})
	require.ErrorContains(t, err, "IPv4: 10.0.0.1 is no address of the network's subnet")
	web := detached(t, e, &Config{Image: image, Ports: []network.Port{{Container: 80}}}, "sleep 600")
	taken := mustInspect(t, e, web).Endpoints[0].Ports[0]
	require.ErrorIs(t, start(Config{Ports: []network.Port{taken}}), os.ErrExist)
	// Those who see the folder otherwise are told so.
	elsewhere, err := Open(t.Context(), e.dir, &Options{UserNetworks: true})
	require.NoError(t, err)
	require.ErrorContains(t, elsewhere.Connect(t.Context(), web.ID, &Connection{Network: "bridge"}), "has its networks elsewhere")
	require.NoError(t, elsewhere.Close())
	a := &answer{}
	user, _ := e.networksAt()
	require.NoError(t, control.Call(t.Context(), e.socketPath(), &call{Do: "detach", ID: web.ID, Network: "bridge", UserMode: user, Namespace: "net:[1]"}, a))
	require.ErrorContains(t, a.err(), `has its networks elsewhere: in user mode false, in network namespace`)
	_, err = e.ask(t.Context(), &call{Do: "nosuch", ID: web.ID})
	require.ErrorContains(t, err, `there is no call "nosuch"`)
	_, err = e.ask(t.Context(), &call{Do: "attach", ID: "../x"})
	require.ErrorContains(t, err, "is no container's ID")
	require.NoError(t, e.Remove(t.Context(), web.ID, &RemoveOptions{Force: true}))
	all, err := e.Networks().Endpoints("bridge")
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoError(t, e.Networks().Check(t.Context()))
}
