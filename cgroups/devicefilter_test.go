package cgroups

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A request is an access to a device node, as the kernel asks a device program about it.
type request struct {
	kind         byte
	major, minor int64
	access       access
}

// allowed is what the rules mean: each kind of access asked for must be allowed by the last rule about it.
func allowed(rules []DeviceRule, r request) bool {
	for _, bit := range []access{accessMknod, accessRead, accessWrite} {
		if r.access&bit == 0 {
			continue
		}
		ok := false
		for _, d := range rules {
			matches := d.Type == 'a' || d.Type == r.kind && d.access()&bit != 0 &&
				(d.Major == AnyDevice || d.Major == r.major) && (d.Minor == AnyDevice || d.Minor == r.minor)
			if matches {
				ok = d.Allow
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// run interprets a device program.
func run(t testing.TB, code []instruction, r request) bool {
	t.Helper()
	kind := map[byte]uint32{'b': typeBlock, 'c': typeChar}[r.kind]
	context := map[int16]uint64{0: uint64(r.access)<<16 | uint64(kind), 4: uint64(r.major), 8: uint64(r.minor)}
	var reg [11]uint64
	for pc, steps := 0, 0; ; pc++ {
		require.Less(t, steps, 10000)
		steps++
		i := code[pc]
		imm := uint64(int64(i.imm))
		switch i.op {
		case opLoadWord:
			reg[i.dst] = context[i.off]
		case opMove:
			reg[i.dst] = reg[i.src]
		case opMoveImm:
			reg[i.dst] = imm
		case opAndImm:
			reg[i.dst] &= imm
		case opShiftImm:
			reg[i.dst] >>= imm
		case opJumpEq:
			if reg[i.dst] == imm {
				pc += int(i.off)
			}
		case opJumpNe:
			if reg[i.dst] != imm {
				pc += int(i.off)
			}
		case opJumpSet:
			if reg[i.dst]&imm != 0 {
				pc += int(i.off)
			}
		case opExit:
			return reg[regResult] == 1
		default:
			t.Fatalf("operation %#x", i.op)
		}
	}
}

func randomRule(rnd *rand.Rand) DeviceRule {
	number := func() int64 { return rnd.Int64N(4) - 1 }
	return DeviceRule{
		Allow: rnd.IntN(3) > 0, Type: "bcbcbca"[rnd.IntN(7)], Major: number(), Minor: number(),
		Access: []string{"", "r", "w", "m", "rw", "rm", "wm", "rwm"}[rnd.IntN(8)],
	}
}

func TestDeviceProgramModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	programs := 2000
	if testing.Short() {
		programs = 200
	}
	for range programs {
		rules := make([]DeviceRule, rnd.IntN(8))
		for i := range rules {
			rules[i] = randomRule(rnd)
		}
		code := deviceProgramCode(rules)
		requireReachable(t, code)
		for range 20 {
			r := request{"bc"[rnd.IntN(2)], rnd.Int64N(3), rnd.Int64N(3), access(1 + rnd.IntN(7))}
			require.Equal(t, allowed(rules, r), run(t, code, r), "%v %+v", rules, r)
		}
	}
}

// requireReachable checks what the kernel's verifier insists on: each instruction can be reached, no jump
// goes back.
func requireReachable(t testing.TB, code []instruction) {
	t.Helper()
	reachable := make([]bool, len(code)+1)
	reachable[0] = true
	for pc, i := range code {
		require.True(t, reachable[pc], "instruction %d of %+v", pc, code)
		require.GreaterOrEqual(t, i.off, int16(0))
		switch i.op {
		case opJumpEq, opJumpNe, opJumpSet:
			reachable[pc+1+int(i.off)] = true
			reachable[pc+1] = true
		case opExit:
		default:
			reachable[pc+1] = true
		}
	}
	require.False(t, reachable[len(code)])
}

func TestDeviceProgramDefault(t *testing.T) {
	code := deviceProgramCode(DefaultDevices())
	for _, c := range []struct {
		request
		ok bool
	}{
		{request{'c', 1, 3, accessRead | accessWrite}, true},
		{request{'c', 136, 7, accessRead}, true},
		{request{'c', 1, 1, accessRead}, false}, // mem
		{request{'c', 1, 1, accessMknod}, true},
		{request{'b', 8, 0, accessMknod}, true},
		{request{'b', 8, 0, accessRead}, false},
		{request{'b', 1, 3, accessRead}, false},
		{request{'c', 10, 200, accessRead | accessMknod}, false},
	} {
		require.Equal(t, c.ok, run(t, code, c.request), "%+v", c.request)
	}
	longest := make([]DeviceRule, maxDeviceRules)
	for i := range longest {
		longest[i] = DeviceRule{Allow: true, Type: 'c', Major: int64(i), Minor: 1, Access: "r"}
	}
	require.Less(t, len(deviceProgramCode(longest)), 4096)
}

func TestDeviceRuleString(t *testing.T) {
	for want, d := range map[string]DeviceRule{
		"allow c 1:3 rwm": {Allow: true, Type: 'c', Major: 1, Minor: 3},
		"deny b *:* wm":   {Type: 'b', Major: AnyDevice, Minor: AnyDevice, Access: "mw"},
		"deny a":          {Type: 'a', Access: "r"},
	} {
		require.Equal(t, want, d.String())
	}
}

func TestExpressible1(t *testing.T) {
	anyChar := DeviceRule{Allow: true, Type: 'c', Major: AnyDevice, Minor: AnyDevice}
	null := DeviceRule{Type: 'c', Major: 1, Minor: 3}
	require.NoError(t, expressible1(DefaultDevices()))
	require.NoError(t, expressible1([]DeviceRule{null, anyChar}))
	require.NoError(t, expressible1([]DeviceRule{{Allow: true, Type: 'a'}, null}))
	require.ErrorIs(t, expressible1([]DeviceRule{anyChar, null}), errors.ErrUnsupported)
	require.ErrorIs(t, expressible1([]DeviceRule{{Allow: true, Type: 'a'}, null, anyChar}), errors.ErrUnsupported)
	require.NoError(t, expressible1([]DeviceRule{{Allow: true, Type: 'c', Major: 1, Minor: 3}, null}))
}
