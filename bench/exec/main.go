//go:build linux

// Command exec times a command in a running container, from the call to the end of /bin/true, in turns with crun exec and
// runc exec. The peers' containers have no seccomp filter and no limits: so they have less to do.
//
// The floor is what the execution itself takes: a process that is in the container already starts the command by vfork and waits.
//
// Each is timed in two states, in which the peers differ: as the first command after a rest, as one finds it that is called for
// by somebody, and as the second of two (see [bench.Cool] for why); and then ten in a row. The aim is an eighth of crun's time at
// most: of a command by itself for the first; where commands follow one another without a pause, crun's wait for the kernel only
// once, and [container.Container.ForkServer] is made for that.
//
//	CGO_ENABLED=0 go run ./bench/exec -n 100
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	if slices.Equal(os.Args[1:], []string{"floor"}) {
		if err := serveFloor(); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(bench.Main("exec", 100, "runs of each", run))
}

func run(s *bench.Setting) (err error) {
	ctx := context.Background()
	cases := []*bench.Case{{Name: "caisson, Command.Run"}, {Name: "caisson, with a fork server"}}
	for i, x := range cases {
		c := container.New(namespace.Dir(s.Root), "/bin/sleep", "100000")
		c.ForkServer = i == 1
		if err := c.Start(ctx); err != nil {
			return err
		}
		defer func() {
			err = errors.Join(err, c.Kill())
			_ = c.Wait(ctx) // killed
		}()
		x.Run = func() error { return c.Command("/bin/true").Run(ctx) }
	}
	turn, end, err := floor(ctx, s.Root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if turn != nil {
		cases = append(cases, &bench.Case{Name: "the floor: a process in the container that starts it at a byte's sign", Run: turn})
	}
	oci := bench.WithoutUnified()
	for _, name := range []string{"crun", "runc"} {
		if _, err := exec.LookPath(name); err != nil {
			continue
		}
		p := peer{name: name, dir: s.Dir, rootfs: s.Root, in: oci}
		if err := p.start(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.command("delete", "--force", p.id())) }()
		cases = append(cases, &bench.Case{Name: name + " exec", Run: func() error { return p.command("exec", p.id(), "/bin/true") }})
	}
	if err := s.Pairs(cases...); err != nil {
		return err
	}
	var rows []*bench.Case
	for _, x := range cases {
		rows = append(rows, &bench.Case{Name: x.Name, Run: func() error {
			for range 10 {
				if err := x.Run(); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	if err := bench.InTurns(s.N, rows...); err != nil {
		return err
	}
	fmt.Print("\nTen in a row:\n\n")
	return bench.Table(os.Stdout, rows...)
}

// A peer is an OCI runtime with a container of its own.
type peer struct {
	name, dir, rootfs string
	in                func(func() error) error
}

func (p *peer) id() string { return fmt.Sprintf("caisson-bench-%s-%d", p.name, os.Getpid()) }

// start starts a container by the runtime's own example of a configuration.
func (p *peer) start() error {
	bundle := filepath.Join(p.dir, p.name)
	if err := os.Mkdir(bundle, 0o755); err != nil {
		return err
	}
	spec := exec.Command(p.name, "spec")
	spec.Dir = bundle
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", spec, err, bytes.TrimSpace(out))
	}
	file := filepath.Join(bundle, "config.json")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(b, &config); err != nil {
		return err
	}
	process, ok := config["process"].(map[string]any)
	if !ok {
		return fmt.Errorf("%s: no process", file)
	}
	process["terminal"], process["args"] = false, []string{"/bin/sleep", "100000"}
	config["root"] = map[string]any{"path": p.rootfs}
	if b, err = json.Marshal(config); err != nil {
		return err
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return err
	}
	return p.command("run", "--detach", "--bundle", bundle, p.id())
}

func (p *peer) command(args ...string) error {
	return p.in(func() error {
		cmd := exec.Command(p.name, append([]string{"--root", filepath.Join(p.dir, p.name+"-state")}, args...)...)
		stderr, err := os.CreateTemp(p.dir, "stderr-") // a detached container would hold a pipe open
		if err != nil {
			return err
		}
		defer os.Remove(stderr.Name())
		defer stderr.Close()
		cmd.Stderr = stderr
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(stderr.Name())
			return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(text))
		}
		return nil
	})
}
