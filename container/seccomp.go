package container

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/internal/seccomp"
	"github.com/caisson-engine/caisson/namespace"
)

// LoadSeccomp reads a profile and makes it the container's Seccomp. It is in Docker's format, which docker run takes as
// --security-opt seccomp=FILE, or in that of an OCI configuration's linux.seccomp. Rules of Docker's that hold only for
// some capabilities, processors or kernels are chosen for those that the container has by now: set CapAdd, CapDrop (or
// Capabilities) and Privileged first. At most 1 MiB is read. An error names the field that is wrong: "seccomp.syscalls[3].action".
func (c *Container) LoadSeccomp(profile []byte) error {
	caps, err := c.capabilitySets(c.Privileged, 0)
	if err != nil {
		return err
	}
	p, err := seccomp.Load(profile, &seccomp.Target{Capabilities: caps.Bounding.Names()})
	if err != nil {
		return seccompError("load seccomp profile", err)
	}
	if err := checkProfile(p); err != nil {
		return err
	}
	c.Seccomp = p
	return nil
}

func (c *Container) checkSeccomp() error {
	switch {
	case c.Seccomp == nil:
		return c.checkListener()
	case c.NoSeccomp || c.Privileged:
		return wrong("Seccomp", "there is a profile, but NoSeccomp or Privileged is set, which means none")
	}
	if err := checkProfile(c.Seccomp); err != nil {
		return err
	}
	return c.checkListener()
}

func checkProfile(p *specs.LinuxSeccomp) error {
	if err := seccomp.Check(p); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return seccompError("check", err)
	}
	return nil
}

// filter puts the seccomp filter for a process with these capabilities into its launch.
func (c *Container) filter(l *namespace.Launch, all namespace.CapabilitySet) (err error) {
	if c.NoSeccomp || c.Privileged {
		return nil
	}
	if c.Seccomp == nil {
		l.SeccompFlags = seccomp.FlagSpecAllow
		l.Seccomp, err = seccomp.Default(all.Names(), c.Socketcall)
	} else if l.SeccompFlags, err = seccomp.Flags(c.Seccomp); err == nil {
		l.SeccompFlags &^= seccomp.FlagTSync // the process has one thread, and with a listener the kernel refuses it
		l.Seccomp, err = seccomp.Compile(c.Seccomp, nil)
	}
	if err != nil {
		return seccompError("compile seccomp profile", err)
	}
	c.listen(l)
	return nil
}

// seccompError is the StartError for a profile that cannot be used: its Path is the field, if one is wrong.
func seccompError(step string, err error) error {
	var field *seccomp.FieldError
	if errors.As(err, &field) {
		return &StartError{Step: step, Path: "seccomp." + field.Field, Err: field.Err}
	}
	return &StartError{Step: step, Path: "Seccomp", Err: err}
}
