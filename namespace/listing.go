package namespace

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A flagName is a bit and its name, or, if the name starts with "=", a whole value and its name.
type flagName struct {
	bits uint64
	name string
}

type flagNames []flagName

func (n *flagNames) format(v uint64) string {
	var s []string
	for _, f := range *n {
		if whole, ok := strings.CutPrefix(f.name, "="); ok {
			if v == f.bits {
				return whole
			}
		} else if v&f.bits == f.bits {
			s = append(s, f.name)
			v &^= f.bits
		}
	}
	if v != 0 || s == nil {
		s = append(s, fmt.Sprintf("%#x", v))
	}
	return strings.Join(s, "|")
}

func (p *Program) format(a arg) string {
	switch {
	case a.kind == argFD:
		text := p.files[a.v].text
		if slices.ContainsFunc(p.idmaps, func(m idmount) bool { return m.file == int(a.v) }) {
			text += ", idmapped"
		}
		return fmt.Sprintf("%d<%s>", int64(a.v), text)
	case a.kind == argVar:
		return "$" + a.text
	case a.kind == argVarAddr:
		return "&" + a.text
	case a.kind == argErrno:
		return "$errno"
	case a.kind == argStrings:
		i, _ := strconv.Atoi(a.text)
		return fmt.Sprintf("%q", p.lists[i])
	case a.kind == argOpenHow, a.kind == argMountAttr:
		return p.formatStruct(a)
	case a.kind == argString:
		return strconv.Quote(a.text)
	case a.text != "":
		return a.text
	case a.kind == argInt && int64(a.v) == atCWD:
		return "AT_FDCWD"
	case a.kind == argHex:
		return fmt.Sprintf("%#x", a.v)
	case a.kind == argOctal:
		return fmt.Sprintf("%#o", a.v)
	case a.kind == argFlags:
		return a.names.format(a.v)
	}
	return fmt.Sprint(int64(a.v))
}

const atCWD = -100

// String lists the program, a step a line, in the manner of strace(1). Descriptors show what they are, $name is the
// result of an earlier step. A line ends with where it goes on success or on errors, when that is not the next line.
func (p *Program) String() string {
	var b strings.Builder
	at := map[int][]int{}
	for l, i := range p.labels {
		if p.uses(l) && p.labels[l] >= 0 {
			at[i] = append(at[i], l)
		}
	}
	for i := range p.steps {
		for _, l := range at[i] {
			fmt.Fprintf(&b, "L%d:\n", l)
		}
		b.WriteString("\t" + p.line(&p.steps[i]) + "\n")
	}
	for _, l := range at[len(p.steps)] {
		fmt.Fprintf(&b, "L%d:\n", l)
	}
	return b.String()
}

func (p *Program) uses(label int) bool {
	for i := range p.steps {
		if s := &p.steps[i]; s.then == label+1 || s.fail == label+1 {
			return true
		}
	}
	return false
}

func (p *Program) line(s *step) string {
	args := p.arguments(s)
	a := make([]string, len(args))
	for i := range a {
		a[i] = p.format(args[i])
	}
	var t string
	switch s.op {
	case opSet:
		if s.out != 0 {
			t = a[0]
		}
	case opAdd:
		t = a[0] + " + " + a[1]
	case opTest:
		t = "test " + a[0] + " == " + a[1]
		if args[2].v != ^uint64(0) {
			t = "test " + a[0] + " & " + a[2] + " == " + a[1]
		}
	case opFail:
		t = "fail " + a[0]
	default:
		t = s.name + "(" + strings.Join(a, ", ") + ")"
	}
	if s.out != 0 {
		t = "$" + p.variableName(s.out-1) + " = " + t
	}
	if s.then != 0 {
		t = strings.TrimSpace(t + fmt.Sprintf(" goto L%d", s.then-1))
	}
	if s.fail != 0 {
		t += fmt.Sprintf(" or on %s goto L%d", errnoNames(s.errs), s.fail-1)
	}
	return t
}

func (p *Program) variableName(off int) string {
	for _, v := range slices.Backward(p.names) {
		if v.off <= off {
			return arg{text: v.name}.at(off - v.off).text
		}
	}
	return ""
}

func errnoNames(set uint64) string {
	if set == anyError {
		return "error"
	}
	var s []string
	for e := range 64 {
		if set>>e&1 != 0 {
			s = append(s, errnoName(syscall.Errno(e)))
		}
	}
	return strings.Join(s, "|")
}
