package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

// open opens the engine.
func (a *app) open() (*engine.Engine, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("minidocker needs Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	if uid := os.Geteuid(); uid != 0 {
		return nil, fmt.Errorf("minidocker must be run as root, this is user %d: without root, namespaces, mounts and "+
			"control groups cannot be made, and user namespaces are not used yet; try sudo", uid)
	}
	client := &registry.Client{Insecure: a.insecures}
	if len(a.mirrors) > 0 {
		client.Mirrors = map[string][]string{"docker.io": a.mirrors}
	}
	return engine.Open(a.root, &engine.Options{Client: client, NoHelloWorld: a.noHello})
}

// withEngine opens the engine for f.
func (a *app) withEngine(f func(*engine.Engine) error) error {
	e, err := a.open()
	if err != nil {
		return err
	}
	return errors.Join(f(e), e.Close())
}

// each calls f with every argument, prints what it returns without error, and goes on after an error.
func (a *app) each(args []string, f func(string) error) error {
	failed := false
	for _, arg := range args {
		if err := f(arg); err != nil {
			say(a.stderr, "Error: %v", err)
			failed = true
		}
	}
	if failed {
		return &exitStatus{code: 1}
	}
	return nil
}
