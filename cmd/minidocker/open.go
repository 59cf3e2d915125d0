package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

// open opens the engine.
func (a *app) open() (*engine.Engine, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("minidocker needs Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	o := a.options()
	o.StartSupervisor = a.startSupervisor
	var err error
	if o.Logger, err = a.logger(); err != nil {
		return nil, err
	}
	e, err := engine.Open(a.ctx, a.root, o)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w (as root it is there; --root or $CAISSON_ROOT names a folder of one's own)", err)
	}
	return e, err
}

func (a *app) options() *engine.Options {
	return &engine.Options{
		Client: a.client(), NoHelloWorld: a.noHello, NetworkNamespace: a.netns, LayerFormat: a.format, CgroupManager: a.cgroups,
	}
}

// logger is where the engine logs to: nowhere, unless a flag says so.
func (a *app) logger() (*slog.Logger, error) {
	if a.debug {
		a.logLevel = "debug"
	}
	if a.logLevel == "" {
		return nil, nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.Replace(a.logLevel, "fatal", "error", 1))); err != nil {
		return nil, &exitStatus{125, fmt.Errorf("unable to parse logging level: %s", a.logLevel)}
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level})), nil
}

// configFile is the path of the file that credentials are kept in; "" is the usual one.
func (a *app) configFile() string {
	if a.config == "" {
		return ""
	}
	return filepath.Join(a.config, "config.json")
}

// client makes a client of registries, with the credentials that login keeps.
func (a *app) client() *registry.Client {
	client := &registry.Client{Insecure: a.insecures, Credentials: registry.DockerCredentials(a.configFile()), CertsDir: "/etc/docker/certs.d"}
	if len(a.mirrors) > 0 {
		client.Mirrors = map[string][]string{"docker.io": a.mirrors}
	}
	return client
}

// withEngine opens the engine for f.
func (a *app) withEngine(f func(*engine.Engine) error) error {
	e, err := a.open()
	if err != nil {
		return err
	}
	err = f(e)
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	select {
	case cerr := <-closed:
		return errors.Join(err, cerr)
	case <-a.ctx.Done(): // the files that are not deleted yet the next command deletes
		return err
	}
}

// each calls f with every argument, prints its errors, and goes on after one, until a signal comes.
func (a *app) each(args []string, f func(string) error) error {
	failed := false
	for _, arg := range args {
		if a.ctx.Err() != nil {
			return a.stopped()
		}
		if err := f(arg); err != nil {
			say(a.stderr, "Error: %v", err)
			failed = true
		}
	}
	if a.ctx.Err() != nil {
		return a.stopped()
	}
	if failed {
		return &exitStatus{code: 1}
	}
	return nil
}

// stopped is the error of a command that a signal stopped.
func (a *app) stopped() error {
	return &exitStatus{a.signals.status(), fmt.Errorf("minidocker: %w", context.Cause(a.ctx))}
}

// defaultRoot is the folder that everything is kept in: an ordinary user has one of its own.
func defaultRoot() string {
	if dir := os.Getenv("CAISSON_ROOT"); dir != "" {
		return dir
	}
	if os.Geteuid() <= 0 {
		return "/var/lib/caisson"
	}
	dir := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			home = "/"
		}
		dir = filepath.Join(home, ".local/share")
	}
	return filepath.Join(dir, "caisson")
}
