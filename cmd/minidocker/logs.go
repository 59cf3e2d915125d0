package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/moby/moby/api/types"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/namespace"
)

func (a *app) logsCommand() *cobra.Command {
	var follow, times bool
	var tail, since, until string
	c := &cobra.Command{
		Use:                   "logs [OPTIONS] CONTAINER",
		Short:                 "Fetch the logs of a container",
		Args:                  cobra.ExactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := strconv.Atoi(tail); err != nil && tail != "all" {
				return fmt.Errorf("--tail %q: neither a number nor \"all\"", tail)
			}
			q := url.Values{"stdout": {"1"}, "stderr": {"1"}, "tail": {tail}, "since": {since}, "until": {until}}
			if follow {
				q.Set("follow", "1")
			}
			if times {
				q.Set("timestamps", "1")
			}
			return a.withEngine(func(e *engine.Engine) error {
				body, err := a.api(e).open(http.MethodGet, "/containers/"+url.PathEscape(args[0])+"/logs", q)
				if err != nil {
					return err
				}
				defer body.Close()
				err = a.split(body)
				if a.ctx.Err() != nil {
					return a.stopped()
				}
				return err
			})
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "Follow log output")
	c.Flags().Bool("details", false, "Show extra details provided to logs: there are none")
	c.Flags().BoolVarP(&times, "timestamps", "t", false, "Show timestamps")
	c.Flags().StringVarP(&tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	c.Flags().StringVar(&since, "since", "", "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)")
	c.Flags().StringVar(&until, "until", "", "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)")
	return c
}

// split copies what a container has printed to the streams that it printed it to. The output of a terminal comes as it is.
func (a *app) split(body *reply) error {
	if body.header.Get("Content-Type") != types.MediaTypeMultiplexedStream {
		_, err := io.Copy(a.stdout, body)
		return err
	}
	var head [8]byte
	for {
		if _, err := io.ReadFull(body, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		w := a.stdout
		if head[0] == 2 {
			w = a.stderr
		}
		if _, err := io.CopyN(w, body, int64(binary.BigEndian.Uint32(head[4:]))); err != nil {
			return err
		}
	}
}

// printFrames prints what next gives, to the stream that it comes from, until that ends.
func (a *app) printFrames(next func() (*namespace.Frame, error)) error {
	for {
		f, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		w := a.stdout
		if f.Stream == namespace.Stderr {
			w = a.stderr
		}
		if _, err := w.Write(f.Data); err != nil {
			return err
		}
	}
}
