package seccomp

import (
	"errors"
	"runtime"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Filter is a program for seccomp(2): an array of struct sock_filter in the byte order of the machine it was
// compiled for.
type Filter []byte

// MaxInstructions is the kernel's limit for a filter (BPF_MAXINSNS).
const MaxInstructions = 4096

// instructionSize is the size of struct sock_filter.
const instructionSize = 8

// Len returns the number of instructions.
func (f Filter) Len() int { return len(f) / instructionSize }

// Options are the optional settings of [Compile].
type Options struct {
	// Arch is the GOARCH of the machine that the filter is for. The default is the program's own.
	Arch string
	// Strict makes a syscall's name that is unknown on all ABIs an error. By default such a name is skipped, as
	// profiles name syscalls of architectures and kernels that this package has no numbers for.
	Strict bool
}

// ErrTooLong is returned when a profile needs more than [MaxInstructions].
var ErrTooLong = errors.New("seccomp filter is longer than 4096 instructions")

// Check looks for what is wrong with a profile, its flags included: the error is the one that [Flags] or [Compile] would
// return, but for [ErrTooLong].
func Check(p *specs.LinuxSeccomp) error {
	if _, err := Flags(p); err != nil {
		return err
	}
	if _, err := abisOf(runtime.GOARCH, p.Architectures); err != nil {
		return err
	}
	_, err := readProfile(p, false)
	return err
}

// Compile makes the filter of a profile. The package's documentation says how rules are read. What is wrong with the
// profile is a [*FieldError], or [ErrTooLong]. The error satisfies errors.ErrUnsupported for an architecture without
// tables.
func Compile(p *specs.LinuxSeccomp, o *Options) (Filter, error) {
	if o == nil {
		o = &Options{}
	}
	goarch := o.Arch
	if goarch == "" {
		goarch = runtime.GOARCH
	}
	abis, err := abisOf(goarch, p.Architectures)
	if err != nil {
		return nil, err
	}
	r, err := readProfile(p, o.Strict)
	if err != nil {
		return nil, err
	}
	a := assembler{interned: map[string]*leaf{}}
	next := a.ret(retKillThread) // the end of the chain: an ABI that the profile does not name
	// The ABIs with one value of AUDIT_ARCH are one tree: x32 is the upper half of x86_64's numbers.
	trees := map[uint32][]span{}
	for _, abi := range abis {
		audit := abiFacts[abi].audit
		if spans := a.spans(r, abi); trees[audit] == nil {
			trees[audit] = spans
		} else {
			trees[audit] = append(trees[audit], spans...)
		}
	}
	if spans := trees[abiFacts[abiX8664].audit]; spans != nil && spans[len(spans)-1].start < x32Bit {
		trees[abiFacts[abiX8664].audit] = append(spans, span{x32Bit, a.intern(&leaf{otherwise: retKillThread})})
	}
	for i := len(abis) - 1; i >= 0; i-- {
		audit := abiFacts[abis[i]].audit
		spans, ok := trees[audit]
		if !ok {
			continue // x32, done with x86_64
		}
		delete(trees, audit)
		next = a.branch(opJumpEqual, audit, a.numbers(spans), next)
	}
	a.load(offsetArch, next)
	return a.program()
}
