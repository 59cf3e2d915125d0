package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// audits are the values of AUDIT_ARCH that the tests call with: the five ABIs' and one of another machine.
var audits = []uint32{0xc000003e, 0x40000003, 0xc00000b7, 0x40000028, 0xc00000f3}

// requireEqualVerdicts compiles the profile for the machine and compares with the naive evaluation: for every number up
// to past the newest syscall on every ABI, with arguments sampled around the values that the profile names.
func requireEqualVerdicts(t testing.TB, p *specs.LinuxSeccomp, goarch string, samples int) {
	t.Helper()
	f, err := Compile(p, &Options{Arch: goarch})
	require.NoError(t, err)
	require.NoError(t, check(f))
	abis, err := abisOf(goarch, p.Architectures)
	require.NoError(t, err)
	n := &naive{p, abis}
	values := interesting(p)
	random := rand.New(rand.NewPCG(1, 2))
	conditional := map[string]bool{"socketcall": true, "ipc": true}
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			conditional[name] = conditional[name] || len(s.Args) > 0
		}
	}
	dependent := map[uint32]bool{}
	for name := range conditional {
		if row := lookup(name); row != nil && conditional[name] {
			for _, number := range row.numbers {
				dependent[uint32(number)] = true
			}
		}
	}
	for _, audit := range audits {
		for _, base := range []uint32{0, x32Bit, 0x0f0000, 0x80000000, 0xfffffe00} {
			for i := range uint32(600) {
				d := data{number: base + i, audit: audit}
				times := 1
				if dependent[d.number] {
					times = samples
				}
				for range times {
					for a := range d.args {
						d.args[a] = values[random.IntN(len(values))]
					}
					got, _, err := run(f, &d)
					require.NoError(t, err)
					if want := n.verdict(&d); got != want {
						j, _ := json.Marshal(p)
						t.Fatalf("%s: call %+v: filter says %#x, profile %#x\n%s", goarch, d, got, want, j)
					}
				}
			}
		}
	}
}

// interesting returns the values of the profile's conditions, their neighbours, and ones that differ in the upper half.
func interesting(p *specs.LinuxSeccomp) []uint64 {
	values := []uint64{0, 1, 2, 5, 23, 0x10001, 0xffffffff, 1 << 32, 1<<63 | 38, ^uint64(0)}
	for _, s := range p.Syscalls {
		for _, a := range s.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo, a.Value & a.ValueTwo} {
				values = append(values, v, v-1, v+1, v^1<<33, v&0xffffffff, v|1<<40)
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// randomProfile makes a profile of a few dozen rules that overlap and contradict each other.
func randomProfile(random *rand.Rand) *specs.LinuxSeccomp {
	pick := func(n int) int { return random.IntN(n) }
	acts := []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActAllow, specs.ActErrno, specs.ActErrno, specs.ActKill, specs.ActKillProcess,
		specs.ActTrap, specs.ActTrace, specs.ActLog, specs.ActNotify,
	}
	act := func(n int) (specs.LinuxSeccompAction, *uint) {
		a := acts[pick(n)]
		if a == specs.ActErrno || a == specs.ActTrace {
			if e := uint(pick(4)); e > 0 {
				return a, &e
			}
		}
		return a, nil
	}
	ops := []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual,
		specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual,
	}
	value := func() uint64 {
		return []uint64{
			uint64(pick(4)), uint64(pick(64)), 0x7c020000, 1 << 32, 0xffffffff, ^uint64(0), ^uint64(0) - uint64(pick(3)),
			0xffffffff_00000001, random.Uint64(), 5 << 32, 0x80000000,
		}[pick(11)]
	}
	p := &specs.LinuxSeccomp{}
	p.DefaultAction, p.DefaultErrnoRet = act(len(acts))
	for _, a := range []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchAARCH64, specs.ArchARM} {
		if pick(4) > 0 {
			p.Architectures = append(p.Architectures, a)
		}
	}
	few := make([]string, 12)
	for i := range few {
		few[i] = syscalls[pick(len(syscalls))].name
	}
	few = append(few, "socket", "shmat", "socketcall", "set_tls", "clone")
	for range pick(40) {
		var s specs.LinuxSyscall
		s.Action, s.ErrnoRet = act(len(acts))
		for range 1 + pick(3) {
			if pick(3) == 0 {
				s.Names = append(s.Names, syscalls[pick(len(syscalls))].name)
			} else {
				s.Names = append(s.Names, few[pick(len(few))])
			}
		}
		for range max(0, pick(5)-1) {
			s.Args = append(s.Args, specs.LinuxSeccompArg{
				Index: uint(pick(6)), Value: value(), ValueTwo: value(), Op: ops[pick(len(ops))],
			})
		}
		p.Syscalls = append(p.Syscalls, s)
	}
	return p
}

func TestCompileRandomProfiles(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	for seed := range rounds {
		p := randomProfile(rand.New(rand.NewPCG(uint64(seed), 7)))
		for _, goarch := range []string{"amd64", "arm64", "386", "arm"} {
			requireEqualVerdicts(t, p, goarch, 60)
		}
	}
}

// TestCompileLongChains makes chains whose jumps are farther than a conditional jump gets.
func TestCompileLongChains(t *testing.T) {
	p := &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86},
	}
	for i := range 150 {
		e := uint(i % 7)
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
			Names: []string{"ioctl", "fcntl"}, Action: specs.ActErrno, ErrnoRet: &e,
			Args: []specs.LinuxSeccompArg{
				{Index: 1, Value: uint64(i), Op: specs.OpEqualTo}, {Index: 2, Value: uint64(i * 3), Op: specs.OpGreaterThan},
			},
		})
	}
	for i := range 300 {
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
			Names: []string{"prctl"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 0, Value: uint64(i * 2), Op: specs.OpEqualTo}},
		})
	}
	requireEqualVerdicts(t, p, "amd64", 1000)
}

func TestCompileTooLong(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for i := range 3000 {
		e := uint(i % 2000)
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
			Names: []string{"ioctl"}, Action: specs.ActErrno, ErrnoRet: &e,
			Args: []specs.LinuxSeccompArg{{Index: 1, Value: uint64(i), Op: specs.OpEqualTo}},
		})
	}
	_, err := Compile(p, &Options{Arch: "amd64"})
	require.ErrorIs(t, err, ErrTooLong)
}

func TestCompileEmpty(t *testing.T) {
	// The smallest profile lets everything through on the machine's ABI, and nothing on another.
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	for _, goarch := range []string{"amd64", "arm64"} {
		requireEqualVerdicts(t, p, goarch, 1)
	}
	f, err := Compile(p, &Options{Arch: "arm64"})
	require.NoError(t, err)
	require.LessOrEqual(t, f.Len(), 5)
}

func TestCompileBadProfiles(t *testing.T) {
	errno, large := uint(1), uint(4096)
	one := func(s specs.LinuxSyscall) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{s}}
	}
	arg := func(a specs.LinuxSeccompArg) *specs.LinuxSeccomp {
		return one(specs.LinuxSyscall{
			Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{a},
		})
	}
	for want, p := range map[string]*specs.LinuxSeccomp{
		`defaultAction: unknown action ""`:                                   {},
		`defaultErrnoRet: action SCMP_ACT_ALLOW takes no errno, got 1`:       {DefaultAction: specs.ActAllow, DefaultErrnoRet: &errno},
		`defaultErrnoRet: errno 4096 of action SCMP_ACT_ERRNO is above 4095`: {DefaultAction: specs.ActErrno, DefaultErrnoRet: &large},
		`architectures[1]: unknown architecture "VAX"`: {
			DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86, "VAX"},
		},
		`syscalls[0].names: no names of syscalls`:                                 one(specs.LinuxSyscall{Action: specs.ActAllow}),
		`syscalls[0].names[1]: unknown syscall ""`:                                one(specs.LinuxSyscall{Action: specs.ActAllow, Names: []string{"read", ""}}),
		`syscalls[0].action: unknown action "SHOUT"`:                              one(specs.LinuxSyscall{Action: "SHOUT", Names: []string{"read"}}),
		`syscalls[0].errnoRet: action SCMP_ACT_KILL takes no errno, got 1`:        one(specs.LinuxSyscall{Action: specs.ActKill, ErrnoRet: &errno}),
		`syscalls[0].args[0].index: there is no argument 6: a syscall has 0 to 5`: arg(specs.LinuxSeccompArg{Index: 6, Op: specs.OpEqualTo}),
		`syscalls[0].args[0].op: unknown operator "SCMP_CMP_LIKE"`:                arg(specs.LinuxSeccompArg{Index: 2, Op: "SCMP_CMP_LIKE"}),
	} {
		_, err := Compile(p, &Options{Arch: "amd64"})
		require.EqualError(t, err, "seccomp."+want)
		require.EqualError(t, Check(p), err.Error())
		var field *FieldError
		require.ErrorAs(t, err, &field)
	}

	p := one(specs.LinuxSyscall{Names: []string{"s390_pci_mmio_read"}, Action: specs.ActAllow})
	_, err := Compile(p, &Options{Arch: "amd64"})
	require.NoError(t, err)
	_, err = Compile(p, &Options{Arch: "amd64", Strict: true})
	require.EqualError(t, err, `seccomp.syscalls[0].names[0]: unknown syscall "s390_pci_mmio_read"`)
	_, err = Compile(p, &Options{Arch: "s390x"})
	require.True(t, errors.Is(err, errors.ErrUnsupported))
}

func TestFlags(t *testing.T) {
	flag := func(f ...specs.LinuxSeccompFlag) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{Flags: append([]specs.LinuxSeccompFlag{}, f...)}
	}
	notify := flag(specs.LinuxSeccompFlagWaitKillableRecv)
	notify.Syscalls = []specs.LinuxSyscall{{Names: []string{"mount"}, Action: specs.ActNotify}}
	for _, c := range []struct {
		p    *specs.LinuxSeccomp
		want uint
	}{
		{&specs.LinuxSeccomp{}, FlagSpecAllow},
		{flag(), 0},
		{flag("SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagLog), FlagTSync | FlagLog},
		{flag(specs.LinuxSeccompFlagSpecAllow), FlagSpecAllow},
		{notify, FlagNewListener | FlagWaitKillable},
	} {
		got, err := Flags(c.p)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	_, err := Flags(flag(specs.LinuxSeccompFlagLog, "SECCOMP_FILTER_FLAG_ODD"))
	require.EqualError(t, err, `seccomp.flags[1]: unknown flag "SECCOMP_FILTER_FLAG_ODD"`)
	_, err = Flags(flag(specs.LinuxSeccompFlagWaitKillableRecv))
	require.ErrorContains(t, err, "SCMP_ACT_NOTIFY")
}

func TestTableIsSorted(t *testing.T) {
	require.True(t, slices.IsSortedFunc(syscalls[:], func(a, b syscallRow) int {
		if a.name < b.name {
			return -1
		}
		return 1
	}))
	for name, want := range map[string][abiCount]int32{
		"socket":     {41, 359, x32Bit | 41, 198, 281},
		"execve":     {59, 11, x32Bit | 520, 221, 11},
		"socketcall": {-1, 102, -1, -1, -1},
		"set_tls":    {-1, -1, -1, -1, 0xf0005},
		"mseal":      {462, 462, x32Bit | 462, 462, 462},
		"_sysctl":    {156, 149, -1, -1, 149},
		"newfstatat": {262, -1, x32Bit | 262, 79, -1},
	} {
		require.Equal(t, want, lookup(name).numbers, name)
	}
	require.Nil(t, lookup("no_such_call"))
	require.Nil(t, lookup("zzz"))
	for _, row := range syscalls {
		require.NotNil(t, lookup(row.name), fmt.Sprint(row))
	}
}

func TestName(t *testing.T) {
	for want, call := range map[string]data{
		"read": {number: 0, audit: 0xc000003e}, "ptrace": {number: x32Bit | 521, audit: 0xc000003e},
		"socketcall": {number: 102, audit: 0x40000003}, "mkdirat": {number: 34, audit: 0xc00000b7},
		"": {number: 100000, audit: 0xc000003e},
	} {
		require.Equal(t, want, Name(call.audit, call.number))
	}
	require.Empty(t, Name(0xc000003e, 521), "x32's alone")
	require.Empty(t, Name(1, 0))
}
