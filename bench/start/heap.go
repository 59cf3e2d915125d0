//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/namespace"
)

// small is what a program holds in memory that is compared with, in MB.
const small = 10

// heaps times the start from programs that hold little and much memory, in turns: this program, executed once for each.
func heaps(s *bench.Setting, mb int) (err error) {
	var cases []*bench.Case
	for _, user := range []bool{false, true} {
		for _, held := range []int{small, mb} {
			p, err2 := newServer(s.Root, held)
			if err2 != nil {
				return err2
			}
			defer func() { err = errors.Join(err, p.close()) }()
			name, line := fmt.Sprintf("caisson, a folder as root, %d MB held", held), "root\n"
			if user {
				name, line = fmt.Sprintf("caisson, in a user namespace, %d MB held", held), "user\n"
			}
			cases = append(cases, &bench.Case{Name: name, Run: func() error { return p.ask(line) }})
		}
	}
	return s.Table(cases...)
}

// A server is a program that starts a container when it is told to.
type server struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newServer(root string, mb int) (*server, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &server{cmd: exec.Command(exe, "-serve", root, "-heap", strconv.Itoa(mb))}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// ask has a container started, and waits for its end.
func (p *server) ask(line string) error {
	if _, err := io.WriteString(p.in, line); err != nil {
		return err
	}
	answer, err := p.out.ReadString('\n')
	if err == nil && answer != "ok\n" {
		err = errors.New(strings.TrimSpace(answer))
	}
	return err
}

func (p *server) close() error { return errors.Join(p.in.Close(), p.cmd.Wait()) }

// serveStarts is the server.
func serveStarts(root string, mb int) error {
	held := make([]byte, mb<<20)
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		c := container.New(namespace.Dir(root), "/bin/true")
		if lines.Text() == "user" {
			c.UIDMappings = []container.IDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
			c.GIDMappings = c.UIDMappings
		}
		answer := "ok"
		if err := c.Run(context.Background()); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Println(answer)
	}
	goruntime.KeepAlive(held)
	return lines.Err()
}
