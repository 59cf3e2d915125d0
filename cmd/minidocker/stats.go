package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

// statsRow is what --format has.
type statsRow struct {
	Container, ID, Name                              string
	CPUPerc, MemUsage, MemPerc, NetIO, BlockIO, PIDs string
}

const statsTable = `table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`

func (a *app) statsCommand() *cobra.Command {
	s := &stats{app: a, begun: map[string]sample{}}
	format := ""
	c := &cobra.Command{
		Use: "stats [OPTIONS] [CONTAINER...]", Short: "Display a live stream of containers' resource usage",
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if format == "" || format == "table" {
				format = statsTable
			}
			f, err := newFormatter(format)
			if err != nil {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error { return s.run(e, f, args) })
		},
	}
	c.Flags().BoolVarP(&s.all, "all", "a", false, "Show all containers (default shows just running)")
	c.Flags().BoolVar(&s.once, "no-stream", false, "Disable streaming stats and only pull the first result")
	c.Flags().BoolVar(&s.long, "no-trunc", false, "Do not truncate output")
	c.Flags().StringVar(&format, "format", "", `Format output: "json", or a template of Go's, with "table " before for columns and headings`)
	return c
}

type stats struct {
	*app
	all, once, long bool
	begun           map[string]sample // the last one of each container
}

type sample struct {
	at    time.Time
	usage *engine.Stats
}

// statsEvery is the time between two looks.
const statsEvery = time.Second

func (s *stats) run(e *engine.Engine, f *formatter, names []string) error {
	if _, err := s.rows(e, names); err != nil { // what is shown is the difference to this
		return err
	}
	for {
		select {
		case <-s.ctx.Done():
			return s.stopped()
		case <-time.After(statsEvery):
		}
		rows, err := s.rows(e, names)
		if err != nil {
			return err
		}
		if !s.once {
			if _, err := io.WriteString(s.stdout, "\x1b[2J\x1b[H"); err != nil {
				return err
			}
		}
		headings := statsRow{"CONTAINER", "CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"}
		if err := f.print(s.stdout, headings, rows); err != nil || s.once {
			return err
		}
	}
}

func (s *stats) rows(e *engine.Engine, names []string) (rows []any, err error) {
	var list []*engine.Container
	if len(names) == 0 {
		if list, err = e.List(s.ctx); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		c, err := e.Inspect(s.ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	for _, c := range list {
		if c.State.Status != engine.Running && !s.all && len(names) == 0 {
			continue
		}
		usage, err := e.Stats(s.ctx, c.ID)
		// One that has ended, or has no control group, is shown without figures.
		if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported) {
			return nil, err
		}
		row := s.row(c, usage)
		if len(names) > 0 {
			row.Container = names[len(rows)]
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// row is a container's row; u is nil if it does not run.
func (s *stats) row(c *engine.Container, u *engine.Stats) statsRow {
	r := statsRow{ID: c.ShortID(), Name: c.Name, CPUPerc: "--", MemUsage: "-- / --", MemPerc: "--", NetIO: "-- / --", BlockIO: "-- / --", PIDs: "--"}
	if s.long {
		r.ID = c.ID
	}
	r.Container = r.ID
	if u == nil {
		delete(s.begun, c.ID)
		return r
	}
	now, was := sample{time.Now(), u}, s.begun[c.ID]
	s.begun[c.ID] = now
	percent := 0.0
	if was.usage != nil && now.at.After(was.at) {
		percent = max(float64(u.CPU.Usage-was.usage.CPU.Usage)/float64(now.at.Sub(was.at)), 0) * 100
	}
	total := hostMemory()
	limit := u.Memory.Limit
	if limit <= 0 || limit > total {
		limit = total
	}
	size := func(n uint64) string { return units.HumanSizeWithPrecision(float64(n), 3) }
	r.CPUPerc = fmt.Sprintf("%.2f%%", min(percent, float64(runtime.NumCPU())*100))
	r.MemUsage = units.BytesSize(float64(u.Memory.Used())) + " / " + units.BytesSize(float64(limit))
	r.MemPerc = fmt.Sprintf("%.2f%%", float64(u.Memory.Used())/float64(max(limit, 1))*100)
	r.NetIO = size(u.Received) + " / " + size(u.Sent)
	r.BlockIO = size(u.IO.ReadBytes) + " / " + size(u.IO.WriteBytes)
	r.PIDs = strconv.FormatInt(u.Pids.Current, 10)
	return r
}

// hostMemory is the machine's memory in bytes.
func hostMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
