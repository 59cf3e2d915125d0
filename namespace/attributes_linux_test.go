package namespace

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// attributes is a helper program that prints its own.
func attributes([]string) int {
	attr, err := unix.SchedGetAttr(os.Getpid(), 0) // of the first thread: Go may go on in another one, which has the default policy
	if err != nil {
		println(err.Error())
		return 1
	}
	println("policy", attr.Policy, "flags", attr.Flags, "nice", attr.Nice, "priority", attr.Priority, "runtime", attr.Runtime)
	prio, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(os.Getpid()), 0)
	println("ioprio", prio>>13, prio&7)
	var set unix.CPUSet
	_ = unix.SchedGetaffinity(0, &set)
	print("cpus")
	for i := range 1024 {
		if set.IsSet(i) {
			print(" ", i)
		}
	}
	println()
	var u unix.Utsname
	_ = unix.Uname(&u)
	println("machine", unix.ByteSliceToString(u.Machine[:]))
	persona, _, _ := unix.Syscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	println("personality", persona)
	var mode uint32
	var nodes [16]uint64
	_, _, e := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&mode)), uintptr(unsafe.Pointer(&nodes)), 1024, 0, 0, 0)
	println("mempolicy", mode, nodes[0], e)
	ring, _, e := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ^uintptr(2), 0) // the session's
	println("keyring", int32(ring), e)
	b, _ := os.ReadFile("/proc/self/attr/apparmor/current")
	println("apparmor", string(b))
	return 0
}

func attributesLaunch(t *testing.T) *Launch {
	testenv.RequireRoot(t)
	return defaultLaunch(Dir(testenv.NewRootfs(t, "attributes")), "attributes")
}

func TestAttributes(t *testing.T) {
	l := attributesLaunch(t)
	l.Attributes = Attributes{
		Scheduler:   &specs.Scheduler{Policy: specs.SchedBatch, Nice: 7, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}},
		IOPriority:  &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE, Priority: 0},
		CPUAffinity: &specs.CPUAffinity{Initial: "0-1", Final: "0"},
		Personality: &specs.LinuxPersonality{Domain: specs.PerLinux32, Flags: []specs.LinuxPersonalityFlag{"ADDR_NO_RANDOMIZE"}},
	}
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	require.Contains(t, out, "policy 3 flags 1 nice 7 priority 0 ")
	require.Contains(t, out, "ioprio 3 0\n")
	require.Contains(t, out, "cpus 0\n")
	require.Regexp(t, "machine (i686|armv8l)\n", out)
	require.Contains(t, out, fmt.Sprintf("personality %d\n", 0x0040008))
}

// TestRealTimeScheduling takes CAP_SYS_NICE, and a control group with time for it, which may be wanting.
func TestRealTimeScheduling(t *testing.T) {
	for _, x := range []struct {
		scheduler specs.Scheduler
		want      string
	}{
		{specs.Scheduler{Policy: specs.SchedRR, Priority: 3}, "policy 2 flags 0 nice 0 priority 3 "},
		{specs.Scheduler{Policy: specs.SchedOther, Nice: -3}, "policy 0 flags 0 nice -3 priority 0 "},
		{specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 5e7, Deadline: 1e8, Period: 1e8,
			Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}, "policy 6 flags 1 nice 0 priority 0 runtime 50000000\n"},
	} {
		t.Run(string(x.scheduler.Policy), func(t *testing.T) {
			l := attributesLaunch(t)
			l.Scheduler = &x.scheduler
			p, err := l.Start(t.Context())
			if errors.Is(err, unix.EPERM) {
				var start *StartError
				require.ErrorAs(t, err, &start)
				require.Equal(t, "sched_setattr", start.Step)
				t.Skip("needs real-time bandwidth of the control group and CAP_SYS_NICE")
			}
			require.NoError(t, err)
			_, err = p.Wait(t.Context())
			require.NoError(t, err)
			require.NoError(t, p.Close())
			out, _ := output(t, l)
			require.Contains(t, out, x.want)
		})
	}
}

func TestMemoryPolicy(t *testing.T) {
	if _, err := os.Stat("/sys/devices/system/node/node0"); err != nil {
		t.Skip("needs a kernel with NUMA")
	}
	l := attributesLaunch(t)
	l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0",
		Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	require.Contains(t, out, fmt.Sprintf("mempolicy %d 1 0\n", 2|1<<15))

	l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "1023"}
	l.Stdout, l.Stderr = nil, nil
	_, err := l.Start(t.Context())
	var start *StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, "set_mempolicy", start.Step)
	require.ErrorIs(t, err, unix.EINVAL)
}

// TestAffinityIsReset: what a host program is bound to does not bind a container that has a control group of its own.
func TestAffinityIsReset(t *testing.T) {
	testenv.RequireRoot(t)
	l := attributesLaunch(t)
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // in the place of a cgroup's file
	require.NoError(t, err)
	defer f.Close()
	l.CgroupTasks = []*os.File{f}
	p, err := l.Program()
	require.NoError(t, err)
	require.Contains(t, p.String(), "sched_setaffinity(0, 1024, [all])")
	out, _ := output(t, l)
	require.Contains(t, out, "cpus 0", out)
	l.CgroupTasks = nil
	p, err = l.Program()
	require.NoError(t, err)
	require.NotContains(t, p.String(), "sched_setaffinity")
}

func TestKeyring(t *testing.T) {
	own, _, e := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ^uintptr(2), 1)
	if e != 0 {
		t.Skip("needs keyrings: " + e.Error())
	}
	l := attributesLaunch(t)
	out, _ := output(t, l)
	require.NotContains(t, out, fmt.Sprintf("keyring %d ", int32(own)))
	l.KeepKeyring = true
	p, err := l.Program()
	require.NoError(t, err)
	require.NotContains(t, p.String(), "keyctl")
}

// TestAppArmor: without AppArmor a profile is refused before anything is started; with it, an unknown profile is.
func TestAppArmor(t *testing.T) {
	l := attributesLaunch(t)
	l.AppArmor = "caisson-no-such-profile"
	_, err := l.Start(t.Context())
	var start *StartError
	require.ErrorAs(t, err, &start)
	if kernel.AppArmor.Err() != nil {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.Equal(t, "AppArmor", start.Path)
		return
	}
	require.ErrorIs(t, err, unix.ENOENT)
	require.Equal(t, "check AppArmor", start.Step+" "+start.Path, "before anything is started")
	require.ErrorContains(t, err, `"caisson-no-such-profile" is not loaded`)
	for _, privileges := range []bool{false, true} {
		l.AppArmor, l.NewPrivileges = "unconfined", privileges
		out, s := output(t, l)
		require.Zero(t, s.Code, out)
		require.Contains(t, out, "apparmor unconfined\n")
	}
	// What is read back is compared: a kernel that does something else is found out.
	p, err := l.Program()
	require.NoError(t, err)
	l.edit = func(p *Program) {
		for i := range p.steps {
			if strings.HasPrefix(p.steps[i].name, "check /proc/self/attr") {
				p.args[p.steps[i].first+1].v++
				return
			}
		}
		t.Error("there is no such step in\n" + p.String())
	}
	l.Stdout, l.Stderr = nil, nil
	_, err = l.Start(t.Context())
	require.ErrorAs(t, err, &start, p.String())
	require.Equal(t, "check /proc/self/attr/apparmor/exec", start.Step)
}

func TestSELinux(t *testing.T) {
	l := attributesLaunch(t)
	l.SELinux = "system_u:system_r:container_t:s0:c1,c2"
	_, err := l.Start(t.Context())
	if kernel.SELinux.Err() == nil {
		t.Skip("needs a kernel without SELinux; package container has a policy for one with it")
	}
	var start *StartError
	require.ErrorAs(t, err, &start)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.Equal(t, "SELinux", start.Path)
}

// everyAttribute are all that this kernel has, for a command in /bin that prints nothing.
func everyAttribute() Attributes {
	a := Attributes{
		Scheduler:   &specs.Scheduler{Policy: specs.SchedBatch, Nice: 1},
		IOPriority:  &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 5},
		CPUAffinity: &specs.CPUAffinity{Initial: "0", Final: "0"},
		Personality: &specs.LinuxPersonality{Domain: specs.PerLinux},
		Landlock: &Landlock{BestEffort: true, Connect: []uint16{443}, Files: []LandlockFiles{
			{Path: "/bin", Access: LandlockRead | LandlockExecute}, {Path: "/dev/null", Access: LandlockRead},
			{Path: "/nothing", Access: LandlockWrite, Optional: true},
		}},
	}
	if _, err := os.Stat("/sys/devices/system/node/node0"); err == nil {
		a.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolPreferred, Nodes: "0"}
	}
	if kernel.AppArmor.Err() == nil {
		a.AppArmor = "unconfined"
	}
	return a
}
