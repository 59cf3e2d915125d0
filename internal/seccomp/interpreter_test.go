package seccomp

import (
	"encoding/binary"
	"fmt"
)

// data is struct seccomp_data.
type data struct {
	number uint32
	audit  uint32
	args   [maxArgs]uint64
}

// word returns the 32 bits at the offset, as the kernel's checked load does.
func (d *data) word(offset uint32) (uint32, error) {
	switch {
	case offset == 0:
		return d.number, nil
	case offset == 4:
		return d.audit, nil
	case offset >= 16 && offset < 64 && offset%4 == 0:
		return uint32(d.args[(offset-16)/8] >> (8 * (offset % 8))), nil
	}
	return 0, fmt.Errorf("load at %d", offset)
}

// run interprets a filter as the kernel does, and returns the verdict and the number of instructions executed. What
// the kernel's checker would refuse is an error.
func run(f Filter, d *data) (verdict, int, error) {
	var accumulator uint32
	steps := 0
	for pc := 0; pc < f.Len(); pc++ {
		steps++
		ins := f[pc*instructionSize:]
		code, jt, jf := binary.LittleEndian.Uint16(ins), int(ins[2]), int(ins[3])
		k := binary.LittleEndian.Uint32(ins[4:])
		var yes bool
		switch code {
		case 0x20:
			var err error
			if accumulator, err = d.word(k); err != nil {
				return 0, steps, err
			}
			continue
		case 0x54:
			accumulator &= k
			continue
		case 0x06:
			return verdict(k), steps, nil
		case 0x05:
			pc += int(k)
			continue
		case 0x15:
			yes = accumulator == k
		case 0x25:
			yes = accumulator > k
		case 0x35:
			yes = accumulator >= k
		default:
			return 0, steps, fmt.Errorf("instruction %d: code %#x", pc, code)
		}
		if yes {
			pc += jt
		} else {
			pc += jf
		}
	}
	return 0, steps, fmt.Errorf("ran off the end")
}

// check does what the kernel's checker does beyond a run: every jump stays inside, the last instruction returns.
func check(f Filter) error {
	n := f.Len()
	if n == 0 || n > MaxInstructions || len(f)%instructionSize != 0 {
		return fmt.Errorf("%d bytes", len(f))
	}
	for pc := range n {
		ins := f[pc*instructionSize:]
		k := binary.LittleEndian.Uint32(ins[4:])
		switch code := binary.LittleEndian.Uint16(ins); code {
		case 0x20:
			if _, err := new(data).word(k); err != nil {
				return err
			}
		case 0x54, 0x06:
		case 0x05:
			if int64(pc)+1+int64(k) >= int64(n) {
				return fmt.Errorf("instruction %d jumps out", pc)
			}
		case 0x15, 0x25, 0x35:
			if pc+1+int(max(ins[2], ins[3])) >= n {
				return fmt.Errorf("instruction %d jumps out", pc)
			}
		default:
			return fmt.Errorf("instruction %d: code %#x", pc, code)
		}
	}
	if binary.LittleEndian.Uint16(f[(n-1)*instructionSize:]) != 0x06 {
		return fmt.Errorf("the last instruction does not return")
	}
	return nil
}
