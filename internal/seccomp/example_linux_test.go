package seccomp_test

import (
	"fmt"
	"log"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/internal/seccomp"
)

// A profile that forbids one call with one argument takes a handful of instructions.
func ExampleCompile() {
	f, err := seccomp.Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls: []specs.LinuxSyscall{{
			Names:  []string{"personality"},
			Action: specs.ActErrno,
			Args:   []specs.LinuxSeccompArg{{Index: 0, Value: 0x0040000, Op: specs.OpEqualTo}},
		}},
	}, &seccomp.Options{Arch: "arm64"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Len(), "instructions")
	// Output: 12 instructions
}
