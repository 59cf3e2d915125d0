package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) eventsCommand() *cobra.Command {
	var format, since, until string
	var filters []string
	c := &cobra.Command{
		Use: "events [OPTIONS]", Short: "Get what happens to containers, images, networks and volumes, whichever program does it", Args: cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			q, err := filterQuery(filters)
			if err != nil {
				return err
			}
			q.Set("since", since)
			q.Set("until", until)
			show := a.sayEvent
			if format != "" {
				p, err := newFormatter(format)
				if err != nil {
					return err
				}
				show = func(m *events.Message) error { return p.print(a.stdout, nil, []any{m}) }
			}
			return a.withEngine(func(e *engine.Engine) error {
				body, err := a.api(e).open(http.MethodGet, "/events", q)
				if err != nil {
					return err
				}
				defer body.Close()
				for all := json.NewDecoder(body); ; {
					m := &events.Message{}
					switch err := all.Decode(m); {
					case a.ctx.Err() != nil:
						return a.stopped()
					case errors.Is(err, io.EOF):
						return nil
					case err != nil:
						return err
					}
					if err := show(m); err != nil {
						return err
					}
				}
			})
		},
	}
	c.Flags().StringArrayVarP(&filters, "filter", "f", nil, "Filter output: container=, event=, image=, label=, network=, type=, volume=")
	c.Flags().StringVar(&format, "format", "", "Format output by a Go template, or \"json\"")
	c.Flags().StringVar(&since, "since", "", "Show all events created since timestamp, or so long ago (42m)")
	c.Flags().StringVar(&until, "until", "", "Stream events until this timestamp")
	return c
}

// sayEvent prints an event as a line.
func (a *app) sayEvent(m *events.Message) error {
	line := fmt.Sprintf("%s %s %s %s", time.Unix(0, m.TimeNano).Format("2006-01-02T15:04:05.000000000Z07:00"), m.Type, m.Action, m.Actor.ID)
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m.Actor.Attributes)) {
		all = append(all, name+"="+m.Actor.Attributes[name])
	}
	if len(all) > 0 {
		line += " (" + strings.Join(all, ", ") + ")"
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}
