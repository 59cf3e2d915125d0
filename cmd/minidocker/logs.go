package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/namespace"
)

func (a *app) logsCommand() *cobra.Command {
	p := &logPrinter{app: a}
	follow, tail := false, ""
	c := &cobra.Command{
		Use:                   "logs [OPTIONS] CONTAINER",
		Short:                 "Fetch the logs of a container since its last start",
		Args:                  cobra.ExactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			last, err := tailLines(tail)
			if err != nil {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				log, err := e.Log(a.ctx, args[0])
				if err != nil {
					return err
				}
				defer log.Close()
				if last >= 0 {
					err = p.tail(log, last)
				} else {
					err = p.print(log.Next)
				}
				if follow && err == nil {
					err = p.print(func() (*namespace.Frame, error) { return log.Follow(a.ctx) })
				}
				if a.ctx.Err() != nil {
					return a.stopped()
				}
				return err
			})
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "Follow log output")
	c.Flags().BoolVarP(&p.times, "timestamps", "t", false, "Show timestamps")
	c.Flags().StringVarP(&tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	return c
}

// tailLines is how many lines --tail asks for, -1 for all. Less than none is all, as with Docker.
func tailLines(tail string) (int, error) {
	if tail == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(tail)
	if err != nil {
		return 0, fmt.Errorf("--tail %q: neither a number nor \"all\"", tail)
	}
	return max(n, -1), nil
}

// A logPrinter prints frames to the stream that they come from.
type logPrinter struct {
	*app
	times bool
	begun [3]bool // by stream: something of the line at hand is printed
}

// print prints what next gives until that ends.
func (p *logPrinter) print(next func() (*namespace.Frame, error)) error {
	for {
		f, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.frame(f); err != nil {
			return err
		}
	}
}

func (p *logPrinter) frame(f *namespace.Frame) error {
	w := p.stdout
	if f.Stream == namespace.Stderr {
		w = p.stderr
	}
	if !p.times {
		_, err := w.Write(f.Data)
		return err
	}
	for line := range lines(f.Data) {
		if begun := &p.begun[f.Stream&1]; !*begun {
			if _, err := io.WriteString(w, f.Time.UTC().Format(engine.LogTime)+" "); err != nil {
				return err
			}
			*begun = true
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		if line[len(line)-1] == '\n' {
			p.begun[f.Stream&1] = false
		}
	}
	return nil
}

// lines cuts b after every newline.
func lines(b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := len(b)
			for i, c := range b {
				if c == '\n' {
					n = i + 1
					break
				}
			}
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// tail prints the last n lines.
func (p *logPrinter) tail(log *namespace.LogReader, n int) error {
	var last []*namespace.Frame   // a line each
	var begun [2]*namespace.Frame // by stream: a line that was not written at once
	err := func() error {
		for {
			f, err := log.Next()
			if err != nil {
				return err
			}
			for line := range lines(f.Data) {
				l := begun[f.Stream&1]
				if l != nil {
					l.Data = slices.Concat(l.Data, line)
				} else {
					l = &namespace.Frame{Stream: f.Stream, Time: f.Time, Data: line}
					last = append(last, l)
				}
				begun[f.Stream&1] = l
				if line[len(line)-1] == '\n' {
					begun[f.Stream&1] = nil
				}
				if len(last) > n {
					last = last[1:]
				}
			}
		}
	}()
	if !errors.Is(err, io.EOF) {
		return err
	}
	for _, f := range last {
		if err := p.frame(f); err != nil {
			return err
		}
	}
	return nil
}
