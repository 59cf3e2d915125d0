package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
)

// fill puts the flags into the configuration.
func (r *runFlags) fill() error {
	if !slices.Contains([]string{"always", "missing", "never"}, r.pull) {
		return fmt.Errorf(`invalid pull option: '%s': must be one of "always", "missing" or "never"`, r.pull)
	}
	c := &r.config
	if r.flags.Changed("restart") {
		policy, err := engine.ParseRestartPolicy(r.restart)
		if err != nil {
			return err
		}
		if policy.Name != engine.RestartNo && c.AutoRemove {
			return errors.New("conflicting options: cannot specify both --restart and --rm")
		}
		c.RestartPolicy = policy
	}
	if r.flags.Changed("entrypoint") {
		c.Entrypoint = []string{r.entrypoint}
	}
	if r.flags.Changed("oom-score-adj") {
		c.OOMScoreAdj = &r.oomScoreAdj
	}
	if r.flags.Changed("stop-timeout") {
		c.StopTimeout = &r.stopTimeout
	}
	var err error
	if c.Healthcheck, err = r.health.fill(); err != nil {
		return err
	}
	for _, fill := range []func() error{r.fillEnv, r.fillPairs, r.fillSizes, r.fillMounts, r.fillSecurity, r.fillResources, r.fillIsolation} {
		if err := fill(); err != nil {
			return err
		}
	}
	return r.network.fill(c)
}

// fillEnv reads the environment: files first, then -e. A name without a value takes over that of this program, if it has
// one.
func (r *runFlags) fillEnv() (err error) {
	r.config.Env, err = environment(r.envFiles, r.env)
	return err
}

func environment(files, variables []string) ([]string, error) {
	all, err := readLists(files, "env")
	if err != nil {
		return nil, err
	}
	all = append(all, variables...)
	for i := range all {
		if all[i], err = variable(all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// variable gives a variable that is only named the value that it has here.
func variable(v string) (string, error) {
	name, _, ok := strings.Cut(v, "=")
	if name == "" {
		return "", fmt.Errorf("invalid environment variable: %s", v)
	}
	if !ok {
		if value, have := os.LookupEnv(name); have {
			v += "=" + value
		}
	}
	return v, nil
}

// readLists reads files of variables or labels, one a line, with comments.
func readLists(files []string, kind string) (all []string, err error) {
	for _, name := range files {
		lines, err := readList(name, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	return all, nil
}

func readList(name, kind string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimLeft(strings.TrimPrefix(s.Text(), "\ufeff"), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		variable, _, _ := strings.Cut(line, "=")
		if variable == "" || strings.ContainsAny(variable, " \t") {
			return nil, fmt.Errorf("invalid %s file (%s): variable '%s' on line %d contains whitespaces or is empty", kind, name, variable, n)
		}
		lines = append(lines, line)
	}
	return lines, s.Err()
}

func (r *runFlags) fillPairs() error {
	labels, err := readLists(r.labelFiles, "label")
	if err != nil {
		return err
	}
	for _, l := range append(labels, r.labels...) {
		name, value, _ := strings.Cut(l, "=")
		if name == "" {
			return fmt.Errorf("invalid label format: %q", l)
		}
		if r.config.Labels == nil {
			r.config.Labels = make(map[string]string)
		}
		r.config.Labels[name] = value
	}
	for _, o := range r.annotations {
		name, value, ok := strings.Cut(o, "=")
		if !ok || name == "" {
			return fmt.Errorf("invalid --annotation: %q is not name=value", o)
		}
		if r.config.Annotations == nil {
			r.config.Annotations = make(map[string]string)
		}
		r.config.Annotations[name] = value
	}
	for _, o := range r.logOptions {
		name, value, ok := strings.Cut(o, "=")
		if !ok || name == "" {
			return fmt.Errorf("invalid --log-opt: %q", o)
		}
		if r.config.LogOptions == nil {
			r.config.LogOptions = make(map[string]string)
		}
		r.config.LogOptions[name] = value
	}
	for _, s := range r.sysctls {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return fmt.Errorf("invalid sysctl format: %q", s)
		}
		if r.config.Sysctls == nil {
			r.config.Sysctls = make(map[string]string)
		}
		r.config.Sysctls[name] = value
	}
	for _, s := range r.ulimits {
		u, err := engine.ParseUlimit(s)
		if err != nil {
			return err
		}
		r.config.Ulimits = append(r.config.Ulimits, u)
	}
	return nil
}

func (r *runFlags) fillSizes() error {
	for _, size := range []struct {
		flag, text string
		to         *int64
	}{
		{"memory", r.memory, &r.config.Memory}, {"memory-swap", r.swap, &r.config.MemorySwap},
		{"memory-reservation", r.reservation, &r.config.MemoryReservation}, {"shm-size", r.shm, &r.config.ShmSize},
	} {
		if size.text == "" {
			continue
		}
		if size.flag == "memory-swap" && size.text == "-1" {
			*size.to = -1
			continue
		}
		n, err := units.RAMInBytes(size.text)
		if err != nil {
			return fmt.Errorf("invalid argument %q for --%s: %w", size.text, size.flag, err)
		}
		*size.to = n
	}
	return nil
}

func (r *runFlags) fillMounts() error {
	if _, err := engine.VolumeOptions(r.volumeDriver, nil, nil); err != nil {
		return err
	}
	for _, list := range []struct {
		specs []string
		parse func(string) (engine.Mount, error)
	}{{r.mounts, engine.ParseMount}, {r.volumes, engine.ParseVolume}, {r.tmpfs, engine.ParseTmpfs}} {
		for _, spec := range list.specs {
			m, err := list.parse(spec)
			if err != nil {
				return err
			}
			r.config.Mounts = append(r.config.Mounts, m)
		}
	}
	return nil
}

func (r *runFlags) fillSecurity() error {
	for _, option := range r.security {
		name, value, given := strings.Cut(option, "=")
		if !given {
			name, value, given = strings.Cut(option, ":")
		}
		switch name {
		case "no-new-privileges":
			set := true
			var err error
			if given {
				set, err = strconv.ParseBool(value)
			}
			if err != nil {
				return fmt.Errorf("invalid --security-opt: %q", option)
			}
			r.config.NoNewPrivileges = set
		case "seccomp":
			switch value {
			case "":
				return fmt.Errorf("invalid --security-opt: %q", option)
			case "unconfined":
				r.config.NoSeccomp = true
			case "builtin":
			default:
				b, err := os.ReadFile(value)
				if err != nil {
					return fmt.Errorf("opening seccomp profile (%s) failed: %w", value, err)
				}
				c := container.Container{Privileged: r.config.Privileged}
				c.CapAdd, c.CapDrop = r.config.CapAdd, r.config.CapDrop
				if err := c.LoadSeccomp(b); err != nil {
					return fmt.Errorf("reading seccomp profile (%s) failed: %w", value, err)
				}
				r.config.Seccomp = c.Seccomp
			}
		default:
			if err := r.isolationOption(option, name, value); err != nil {
				return err
			}
		}
	}
	return nil
}
