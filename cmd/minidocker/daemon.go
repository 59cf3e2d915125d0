package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/dockerapi"
	"github.com/caisson-engine/caisson/engine"
)

// supervisePause is between two attempts to become the supervisor, while another process is.
const supervisePause = 200 * time.Millisecond

type daemonFlags struct {
	hosts []string
	debug bool
	dockerapi.ListenOptions
}

func (a *app) daemonCommand() *cobra.Command {
	d := &daemonFlags{}
	c := &cobra.Command{
		Use: "daemon [OPTIONS]", Short: "Serve the Docker Engine API: whoever reaches it is root of this machine", Args: cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE:                  func(*cobra.Command, []string) error { return a.daemon(d) },
	}
	f := c.Flags()
	f.StringArrayVarP(&d.hosts, "host", "H", nil, "Address to listen at: unix:///path, or tcp://address:port with certificates (default "+defaultHost()+")")
	f.StringVarP(&d.Group, "group", "G", "", "Group that may connect to the sockets, besides their owner; its members are root of this machine then")
	f.StringVar(&d.CertFile, "tlscert", "", "File of the server's certificate, for tcp")
	f.StringVar(&d.KeyFile, "tlskey", "", "File of the server's key, for tcp")
	f.StringVar(&d.CAFile, "tlscacert", "", "File of the certificates that clients' certificates are signed by, for tcp")
	f.BoolVar(&d.InsecureLoopback, "insecure-loopback", false,
		"Allow tcp without certificates at an address of the loopback interface: every user of this machine is root of it then")
	f.BoolVarP(&d.debug, "debug", "D", false, "Log every request")
	return c
}

// defaultHost is where the API is served if nobody says it.
func defaultHost() string {
	if os.Geteuid() == 0 && defaultRoot() == "/var/lib/caisson" {
		return "unix:///run/caisson.sock"
	}
	return "unix://" + filepath.Join(defaultRoot(), "docker.sock")
}

// daemon serves the API and is the folder's supervisor until a signal comes. Containers go on.
func (a *app) daemon(d *daemonFlags) (err error) {
	if len(d.hosts) == 0 {
		d.hosts = []string{defaultHost()}
	}
	if err := os.MkdirAll(a.root, 0o700); err != nil {
		return err
	}
	level := slog.LevelInfo
	if d.debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	ctx, cancel := context.WithCancelCause(a.ctx)
	defer cancel(nil)
	s := &supervising{log: log, wake: make(chan struct{}, 1)}
	o := a.options()
	o.Logger, o.StartSupervisor = log, s.start
	if s.e, err = engine.Open(ctx, a.root, o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.e.Close()) }()
	var listeners []net.Listener
	for _, host := range d.hosts {
		l, err := dockerapi.Listen(ctx, host, &d.ListenOptions)
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return err
		}
		listeners = append(listeners, l)
	}
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx) })
	api := &dockerapi.Server{Engine: s.e, Log: log}
	errs := make([]error, len(listeners))
	for i, l := range listeners {
		log.Info("serving the Docker Engine API", "host", d.hosts[i])
		running.Go(func() {
			if errs[i] = api.Serve(ctx, l); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// Supervising is being the supervisor of the folder, as soon as no other process is.
type supervising struct {
	e    *engine.Engine
	log  *slog.Logger
	wake chan struct{}

	mu    sync.Mutex
	ready chan struct{} // closed while it is
}

func (s *supervising) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.e.Supervise(ctx, &engine.SuperviseOptions{Ends: true, Ready: func() { s.set(true) }})
		s.set(false)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			s.log.Error("supervisor", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-time.After(supervisePause):
		}
	}
}

func (s *supervising) set(ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == nil || !ready {
		s.ready = make(chan struct{})
	}
	if ready {
		close(s.ready)
	}
}

// start is called by the engine where nobody is the supervisor: this process is about to be.
func (s *supervising) start(ctx context.Context) error {
	s.mu.Lock()
	if s.ready == nil {
		s.ready = make(chan struct{})
	}
	ready := s.ready
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-ready:
	case <-time.After(2 * supervisePause): // another process may be by now, which the engine looks at
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
