package engine

import (
	"context"
	"errors"
	"os"
)

// Explain returns the program of system calls by which a container with the configuration would be started, a line each.
// Nothing is started, and nothing stays.
func (e *Engine) Explain(ctx context.Context, cfg *Config) (_ string, err error) {
	c, err := e.Create(ctx, cfg)
	if err != nil {
		return "", err
	}
	r := &Run{e: e, record: c}
	defer func() {
		c.Config.AutoRemove = true
		err = errors.Join(err, r.release(), e.Remove(context.WithoutCancel(ctx), c.ID, &RemoveOptions{Volumes: true}))
	}()
	if err := r.mount(ctx); err != nil {
		return "", err
	}
	if r.c, err = r.build(ctx); err != nil {
		return "", err
	}
	r.c.Stdin, r.c.Stdout = os.Stdin, os.Stdout
	program, err := r.c.Program()
	if err != nil {
		return "", err
	}
	return program.String(), nil
}
