package namespace

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// TestBadAttributes: what cannot be is an error that names the field.
func TestBadAttributes(t *testing.T) {
	for _, x := range []struct {
		field string
		a     Attributes
	}{
		{"Scheduler.Policy", Attributes{Scheduler: &specs.Scheduler{}}},
		{"Scheduler.Policy", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedISO}}},
		{"Scheduler.Nice", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedOther, Nice: 20}}},
		{"Scheduler.Nice", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedFIFO, Nice: 1, Priority: 1}}},
		{"Scheduler.Priority", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedFIFO}}},
		{"Scheduler.Priority", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedRR, Priority: 100}}},
		{"Scheduler.Priority", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedOther, Priority: 1}}},
		{"Scheduler.Runtime", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedOther, Period: 1}}},
		{"Scheduler.Runtime", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 3000, Deadline: 2000}}},
		{"Scheduler.Period", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 2000, Deadline: 1 << 63}}},
		{"Scheduler.Flags", Attributes{Scheduler: &specs.Scheduler{Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{"X"}}}},
		{"IOPriority.Class", Attributes{IOPriority: &specs.LinuxIOPriority{}}},
		{"IOPriority.Priority", Attributes{IOPriority: &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 8}}},
		{"CPUAffinity.Initial", Attributes{CPUAffinity: &specs.CPUAffinity{Initial: "1-0"}}},
		{"CPUAffinity.Final", Attributes{CPUAffinity: &specs.CPUAffinity{Final: "0,8192"}}},
		{"CPUAffinity.Final", Attributes{CPUAffinity: &specs.CPUAffinity{Final: "0-18446744073709551616"}}},
		{"Personality.Domain", Attributes{Personality: &specs.LinuxPersonality{Domain: "BSD"}}},
		{"Personality.Flags", Attributes{Personality: &specs.LinuxPersonality{Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"X"}}}},
		{"MemoryPolicy.Mode", Attributes{MemoryPolicy: &specs.LinuxMemoryPolicy{}}},
		{"MemoryPolicy.Nodes", Attributes{MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MpolBind}}},
		{"MemoryPolicy.Nodes", Attributes{MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0-"}}},
		{"MemoryPolicy.Nodes", Attributes{MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "1024"}}},
		{"MemoryPolicy.Nodes", Attributes{MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MpolLocal, Nodes: "0"}}},
		{"MemoryPolicy.Flags", Attributes{MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0",
			Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes, specs.MpolFRelativeNodes}}}},
		{"MemoryPolicy.Flags", Attributes{MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0",
			Flags: []specs.MemoryPolicyFlagType{specs.MpolFNumaBalancing}}}},
		{"AppArmor", Attributes{AppArmor: "a b"}},
		{"AppArmor", Attributes{AppArmor: "a\nb"}},
		{"SELinux", Attributes{SELinux: strings.Repeat("x", 1025)}},
		{"SELinux", Attributes{SELinux: "x", AppArmor: "y"}},
		{"Landlock", Attributes{Landlock: &Landlock{AnyFile: true, AnyPort: true, Unscoped: true}}},
		{"Landlock", Attributes{Landlock: &Landlock{Bind: make([]uint16, 1025)}}},
		{"Landlock.Files", Attributes{Landlock: &Landlock{AnyFile: true, Files: []LandlockFiles{{Path: "/", Access: LandlockRead}}}}},
		{"Landlock.Bind", Attributes{Landlock: &Landlock{AnyPort: true, Connect: []uint16{1}}}},
		{"Landlock.Files[0].Path", Attributes{Landlock: &Landlock{Files: []LandlockFiles{{Path: "etc", Access: LandlockRead}}}}},
		{"Landlock.Files[0].Access", Attributes{Landlock: &Landlock{Files: []LandlockFiles{{Path: "/etc"}}}}},
	} {
		err := x.a.CheckAttributes()
		var start *StartError
		require.ErrorAs(t, err, &start, x.field)
		require.Equal(t, "check", start.Step)
		require.Equal(t, x.field, start.Path, err)
	}
	require.NoError(t, (&Attributes{}).CheckAttributes())
	require.NoError(t, (&Attributes{Landlock: &Landlock{}}).CheckAttributes())
}

func TestParseNumbers(t *testing.T) {
	mask, err := parseNumbers("0-3,7,64,66-67", 128)
	require.NoError(t, err)
	require.Equal(t, []uint64{0x8f, 0xd}, mask)
	for _, s := range []string{"", ",", "-", "1-", "-1", "a", "1,", "0x1", "1 ,2", "128"} {
		_, err := parseNumbers(s, 128)
		require.Error(t, err, s)
	}
}
