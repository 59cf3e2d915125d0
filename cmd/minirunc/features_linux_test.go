package main

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/namespace"
)

// TestFeaturesSaid: what the specification has a runtime say of itself is said, and the document is one of its form.
func TestFeaturesSaid(t *testing.T) {
	f := &features.Features{}
	require.NoError(t, json.Unmarshal([]byte(ok(t, t.TempDir(), "features")), f))
	require.Equal(t, allFeatures(), f)
	var said func(v reflect.Value, path string)
	said = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.Pointer:
			require.False(t, v.IsNil(), path)
			said(v.Elem(), path)
		case reflect.Struct:
			for i := range v.NumField() {
				switch name := v.Type().Field(i).Name; name {
				case "PotentiallyUnsafeConfigAnnotations": // no annotation changes anything here
				case "SupportedFlags": // what this machine can do, not the runtime: left out, as is allowed
				default:
					said(v.Field(i), path+"."+name)
				}
			}
		case reflect.Slice, reflect.Map, reflect.String:
			require.NotZero(t, v.Len(), path)
		}
	}
	said(reflect.ValueOf(f), "features")
}

// TestFeaturesHold: what is said to be supported is taken, each value of it, and another one is refused by a name.
func TestFeaturesHold(t *testing.T) {
	f, dir := allFeatures(), t.TempDir()
	translate := func(change func(*specs.Spec)) error {
		s := &specs.Spec{Version: specs.Version, Process: &specs.Process{Args: []string{"a"}, Cwd: "/"}, Root: &specs.Root{Path: dir},
			Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}}}}
		change(s)
		config, err := json.Marshal(s)
		require.NoError(t, err)
		b, err := bundle.Parse(config, dir)
		if err != nil {
			return err
		}
		l, err := b.Launch(&bundle.Options{})
		if err != nil {
			return err
		}
		defer l.Close()
		_, err = l.Program()
		return bundle.Explain(err)
	}
	hold := func(field string, values []string, unknown string, change func(s *specs.Spec, value string)) {
		t.Helper()
		require.NotEmpty(t, values, field)
		for _, v := range values {
			require.NoError(t, translate(func(s *specs.Spec) { change(s, v) }), "%s %s", field, v)
		}
		var named *bundle.FieldError
		require.ErrorAs(t, translate(func(s *specs.Spec) { change(s, unknown) }), &named)
		require.Equal(t, field, named.Field)
	}
	hold("ociVersion", []string{f.OCIVersionMin, f.OCIVersionMax}, "2.0.0", func(s *specs.Spec, v string) { s.Version = v })
	for _, o := range f.MountOptions { // of which some are for binds, some for a tmpfs, and some take a value
		bind, tmpfs := &namespace.Mount{Type: "bind"}, &namespace.Mount{Type: "tmpfs"}
		if bind.SetOptions(o) != nil && o != "idmap" && o != "ridmap" {
			require.NoError(t, tmpfs.SetOptions(o), o)
		}
	}
	hold("linux.namespaces[1].type", f.Linux.Namespaces, "moon", func(s *specs.Spec, v string) {
		if v == "mount" {
			s.Linux.Namespaces = nil
		}
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(v)})
		if v == "user" {
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 10}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
		}
	})
	for _, name := range f.Linux.Capabilities {
		_, err := namespace.ParseCapability(name)
		require.NoError(t, err)
	}
	profile := func(s *specs.Spec) *specs.LinuxSeccomp {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/agent"}
		return s.Linux.Seccomp
	}
	hold("linux.seccomp.syscalls[0].action", f.Linux.Seccomp.Actions, "X", func(s *specs.Spec, v string) {
		profile(s).Syscalls = []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.LinuxSeccompAction(v)}}
	})
	hold("linux.seccomp.syscalls[0].args[0].op", f.Linux.Seccomp.Operators, "X", func(s *specs.Spec, v string) {
		profile(s).Syscalls = []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActErrno,
			Args: []specs.LinuxSeccompArg{{Value: 1, Op: specs.LinuxSeccompOperator(v)}}}}
	})
	hold("linux.seccomp.architectures[0]", f.Linux.Seccomp.Archs, "X", func(s *specs.Spec, v string) {
		profile(s).Architectures = []specs.Arch{specs.Arch(v)}
	})
	hold("linux.seccomp.flags[0]", f.Linux.Seccomp.KnownFlags, "X", func(s *specs.Spec, v string) {
		p := profile(s)
		p.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlag(v)}
		if v == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" { // a listener's
			p.Syscalls = []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActNotify}}
		}
	})
	hold("linux.memoryPolicy.mode", f.Linux.MemoryPolicy.Modes, "X", func(s *specs.Spec, v string) {
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MemoryPolicyModeType(v)}
		if v != "MPOL_DEFAULT" && v != "MPOL_LOCAL" {
			s.Linux.MemoryPolicy.Nodes = "0"
		}
	})
	hold("linux.memoryPolicy.flags", f.Linux.MemoryPolicy.Flags, "X", func(s *specs.Spec, v string) {
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: "MPOL_BIND", Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MemoryPolicyFlagType(v)}}
	})
}
