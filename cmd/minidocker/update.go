package main

import (
	"errors"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) renameCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rename CONTAINER NEW_NAME", Short: "Rename a container", Args: cobra.ExactArgs(2), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error { return e.Rename(a.ctx, args[0], args[1]) })
		},
	}
}

func (a *app) restartCommand() *cobra.Command {
	return a.stoppingCommand("restart [OPTIONS]", "Restart one or more containers", (*engine.Engine).RestartBySignal)
}

// updateFlags are the flags of update.
type updateFlags struct {
	memory, swap, reservation string
	restart                   string
	cpu                       cpuTimes
	engine.Update
}

func (a *app) updateCommand() *cobra.Command {
	u := &updateFlags{}
	c := a.namingCommand("update [OPTIONS]", "Update the limits and restart policies of one or more containers", func(e *engine.Engine, name string) error {
		if err := u.fill(); err != nil {
			return err
		}
		return e.Update(a.ctx, name, &u.Update)
	})
	f := c.Flags()
	f.StringVarP(&u.memory, "memory", "m", "", "Memory limit")
	f.StringVar(&u.swap, "memory-swap", "", "Swap limit equal to memory plus swap: -1 to enable unlimited swap")
	f.StringVar(&u.reservation, "memory-reservation", "", "Memory soft limit")
	f.Float64Var(&u.CPUs, "cpus", 0, "Number of CPUs")
	f.Uint64VarP(&u.CPUShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	u.cpu.add(f)
	refuseFlag(f, "kernel-memory", "", "", "Linux has no such limit any more, and Docker ignores it")
	f.StringVar(&u.CpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&u.CpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	f.Int64Var(&u.PidsLimit, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	f.StringVar(&u.restart, "restart", "", "Restart policy to apply when a container exits")
	f.Uint16Var(&u.IOWeight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)")
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if c.Flags().NFlag() == 0 {
			return errors.New("you must provide one or more flags when using this command")
		}
		return run(c, args)
	}
	return c
}

func (u *updateFlags) fill() error {
	for _, x := range []struct {
		text string
		to   *int64
	}{{u.memory, &u.Memory}, {u.swap, &u.MemorySwap}, {u.reservation, &u.MemoryReservation}} {
		if x.text == "" {
			continue
		}
		if x.text == "-1" {
			*x.to = -1
			continue
		}
		n, err := units.RAMInBytes(x.text)
		if err != nil {
			return err
		}
		*x.to = n
	}
	if u.restart != "" {
		p, err := engine.ParseRestartPolicy(u.restart)
		if err != nil {
			return err
		}
		u.RestartPolicy = p
	}
	return u.cpu.set(&u.CPUQuota, &u.CPUPeriod, &u.RealtimeRuntime, &u.RealtimePeriod)
}
