// Run code that nobody trusts, in containers from a pool, with limits of everything, and say how each ended.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	ctx := context.Background()
	pool := &container.Pool{Size: 2, New: func(context.Context) (*container.Container, error) {
		c := container.New(namespace.Dir("/")) // a layer.Mount with ReadOnly, where the code is not to see the host's files
		c.ReadOnlyRoot, c.User, c.CapDrop = true, "65534:65534", []string{"ALL"}
		c.Mounts = []container.Mount{container.Tmpfs("/tmp", "size=8m,mode=1777")} // which counts as memory
		c.Memory, c.MemorySwap, c.CPUs, c.PidsLimit = 32<<20, 32<<20, 0.5, 32
		c.Init = true // or the code were process 1, to which signals that it does not handle do nothing
		return c, nil // the network is a new one with loopback alone
	}}
	for _, code := range []string{
		"echo hello", "exit 7", "kill -SEGV $$", "sleep 1000", "x=0123456789; while :; do x=$x$x; done", "while :; do echo more; done",
		"grep -o '^ *[a-z0-9]*:' /proc/net/dev; touch /etc/passwd",
	} {
		verdict, err := run(ctx, pool, code)
		if err != nil {
			log.Fatal(err) // the machine's fault, not the code's
		}
		fmt.Printf("%-60s %s\n", code, verdict)
	}
	if err := pool.Close(); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, pool *container.Pool, code string) (verdict string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // without a WaitDelay the code is killed at its end
	defer cancel()
	c, err := pool.Get(ctx)
	if err != nil {
		return "", err
	}
	defer c.Root.Close()
	var out bytes.Buffer
	c.Args, c.Stdout, c.Stderr, c.MaxOutput = []string{"sh", "-c", code}, &out, &out, 4096
	err = c.Run(ctx)
	var exit *container.ExitError
	switch {
	case err == nil:
		return fmt.Sprintf("well: %q", out.String()), nil
	case errors.Is(err, container.ErrMaxOutput): // it may have ended with success
		return "it printed too much", nil
	case !errors.As(err, &exit):
		return "", err // a *container.StartError, say: it never ran
	case exit.OOMKilled:
		return fmt.Sprintf("out of memory, at a peak of %d MiB", exit.Cgroup.Memory.Peak>>20), nil
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long", nil
	case exit.Code > 128: // as init says it, and shells do
		return fmt.Sprintf("signal %d", exit.Code-128), nil
	}
	return fmt.Sprintf("exit status %d: %q", exit.Code, out.String()), nil
}
