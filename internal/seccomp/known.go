package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Known is what of a profile can be compiled, in the specification's names.
type Known struct {
	Actions, Operators, Archs, Flags []string
}

// Knows returns what can be compiled on a machine; the architectures are those whose calls a filter can tell apart there.
func Knows(goarch string) Known {
	var k Known
	for _, a := range actions {
		k.Actions = append(k.Actions, string(a.name))
	}
	slices.Sort(k.Actions)
	for _, o := range []specs.LinuxSeccompOperator{
		specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan,
		specs.OpMaskedEqual,
	} {
		k.Operators = append(k.Operators, string(o))
	}
	slices.Sort(k.Operators)
	for _, abi := range machines()[goarch] {
		k.Archs = append(k.Archs, string(abiFacts[abi].arch))
	}
	slices.Sort(k.Archs)
	for _, f := range []specs.LinuxSeccompFlag{
		flagTSync, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagWaitKillableRecv,
	} {
		k.Flags = append(k.Flags, string(f))
	}
	return k
}
