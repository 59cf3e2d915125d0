package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/docker/go-units"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	lib "github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/ocistate"
)

var updateVerb = verb{
	name: "update", args: "[options] CONTAINER-ID",
	about: "change the limits of a container",
	run:   (*command).update,
}

// maxResources bounds the document with new limits, in bytes.
const maxResources = 1 << 20

func (c *command) update(args []string) error {
	f := c.flags("update")
	var file string
	const usage = "`file` with linux.resources of a configuration, - for standard input: other options do not count then"
	f.StringVar(&file, "resources", "", usage)
	f.StringVar(&file, "r", "", usage)
	var own limitFlags
	own.register(f)
	if err := c.parse(f, args, 1, 1); err != nil {
		return err
	}
	r := own.resources
	if file != "" {
		r = specs.LinuxResources{}
		if err := c.readResources(file, &r); err != nil {
			return err
		}
	}
	switch {
	case own.l3 != "":
		//lint:ignore ST1005 runc's words
		return fmt.Errorf("Intel RDT/CAT: l3 cache schema is not enabled: %w", errors.ErrUnsupported)
	case own.bandwidth != "":
		//lint:ignore ST1005 runc's words
		return fmt.Errorf("Intel RDT/MBA: memory bandwidth schema is not enabled: %w", errors.ErrUnsupported)
	case own.kernel:
		c.warn("Kernel memory settings are ignored and will be removed")
	}
	k, err := c.lock(f.Arg(0))
	if err != nil {
		return err
	}
	return errors.Join(k.update(&r), k.close())
}

func (c *command) readResources(file string, r *specs.LinuxResources) error {
	in := c.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxResources+1))
	if err != nil {
		return err
	}
	if len(b) > maxResources {
		return fmt.Errorf("%s: the limits are longer than %d bytes", file, maxResources)
	}
	if err := json.Unmarshal(b, r); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// update puts the container under other limits. What r does not set stays.
func (k *container) update(r *specs.LinuxResources) error {
	status, err := k.status()
	if err != nil {
		return err
	}
	if status == specs.StateStopped {
		return ocistate.ErrNotRunning
	}
	// Without a limit on memory there is none on memory and swap.
	if m := r.Memory; m != nil && m.Limit != nil && *m.Limit == cgroups.Unlimited && m.Swap == nil {
		m.Swap = m.Limit
	}
	r.Devices = nil // they are not updated: other programs may have added rules
	limits, err := lib.SpecResources(r)
	if err != nil {
		return err
	}
	err = k.withGroup(func(g *cgroups.Group) error { return g.Update(limits) })
	if err == nil {
		err = k.updateScope(limits)
	}
	if err != nil {
		var field *cgroups.ResourceError
		if errors.As(err, &field) {
			return fmt.Errorf("%s: %w", lib.SpecField(field.Field), err)
		}
		return err
	}
	k.Config.Cgroups.Note(r)
	return k.save()
}

// limitFlags are the options that set limits.
type limitFlags struct {
	resources     specs.LinuxResources
	l3, bandwidth string
	kernel        bool // one of those for kernel memory was given
}

func (l *limitFlags) register(f *flag.FlagSet) {
	m, cpu, pids, io := &specs.LinuxMemory{}, &specs.LinuxCPU{}, &specs.LinuxPids{}, &specs.LinuxBlockIO{}
	l.resources = specs.LinuxResources{Memory: m, CPU: cpu, Pids: pids, BlockIO: io}
	for _, o := range []struct {
		name  string
		to    **int64
		usage string
	}{
		{"memory", &m.Limit, "most memory: `bytes`, or with a unit (64m); -1 lifts the limit"},
		{"memory-reservation", &m.Reservation, "memory that is left to the container when it is short: `bytes`"},
		{"memory-swap", &m.Swap, "most memory and swap together: `bytes`; -1 lifts the limit"},
	} {
		f.Func(o.name, o.usage, setSize(o.to))
	}
	for _, name := range []string{"kernel-memory", "kernel-memory-tcp"} {
		f.Func(name, "ignored", func(s string) error {
			l.kernel = l.kernel || s != ""
			return setSize(new(*int64))(s)
		})
	}
	for _, o := range []struct {
		name  string
		to    **int64
		usage string
	}{
		{"cpu-quota", &cpu.Quota, "`µs` on processors in each period; -1 lifts the limit"},
		{"cpu-rt-runtime", &cpu.RealtimeRuntime, "`µs` for realtime processes in each of their periods"},
		{"cpu-idle", &cpu.Idle, "1: on processors only when nobody else wants them"},
		{"pids-limit", &pids.Limit, "most processes and threads; -1 lifts the limit"},
	} {
		f.Func(o.name, o.usage, setInt(o.to))
	}
	for _, o := range []struct {
		name  string
		to    **uint64
		usage string
	}{
		{"cpu-period", &cpu.Period, "length of a period in `µs`"},
		{"cpu-burst", &cpu.Burst, "`µs` of unused quota that may be saved up"},
		{"cpu-rt-period", &cpu.RealtimePeriod, "length of a period of realtime processes in `µs`"},
		{"cpu-share", &cpu.Shares, "weight against other containers"},
	} {
		f.Func(o.name, o.usage, setUint(o.to))
	}
	f.StringVar(&cpu.Cpus, "cpuset-cpus", "", "processors that may be used (0-3,7)")
	f.StringVar(&cpu.Mems, "cpuset-mems", "", "memory nodes that may be used")
	f.Func("blkio-weight", "weight for block devices, 10 to 1000", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		if w := uint16(n); err == nil && w != 0 {
			io.Weight = &w
		}
		return err
	})
	f.StringVar(&l.l3, "l3-cache-schema", "", "not supported")
	f.StringVar(&l.bandwidth, "mem-bw-schema", "", "not supported")
}

// An empty value sets nothing, as with runc.

func setSize(to **int64) func(string) error {
	return func(s string) error {
		if s == "" || s == "-1" {
			return setInt(to)(s)
		}
		n, err := units.RAMInBytes(s)
		if err == nil {
			*to = &n
		}
		return err
	}
}

func setInt(to **int64) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err == nil {
			*to = &n
		}
		return err
	}
}

func setUint(to **uint64) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err == nil {
			*to = &n
		}
		return err
	}
}
