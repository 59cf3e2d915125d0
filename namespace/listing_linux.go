package namespace

import (
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func errnoName(e syscall.Errno) string { return unix.ErrnoName(e) }

// formatStruct shows a struct open_how or mount_attr.
func (p *Program) formatStruct(a arg) string {
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(p.data[int(a.v)+8*i:]) }
	if a.kind == argOpenHow {
		return "{" + openNames.format(word(0)) + ", " + resolveNames.format(word(2)) + "}"
	}
	var text []string
	if set := word(0); set != 0 {
		text = append(text, "set="+mountAttrNames.format(set))
	}
	if clr := word(1); clr != 0 {
		text = append(text, fmt.Sprintf("clear=%#x", clr))
	}
	if propagation := word(2); propagation != 0 {
		text = append(text, "propagation="+mountNames.format(propagation))
	}
	return "{" + strings.Join(text, ", ") + "}"
}
