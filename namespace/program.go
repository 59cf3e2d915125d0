package namespace

import (
	"encoding/binary"
	"slices"
	"strconv"
	"sync"
)

// A Program is the list of steps that a new process takes from its first instruction to the execution of the user's
// command: system calls whose arguments are constants or results of earlier steps, and the few branches between them.
// It is plain data: it can be printed and compared before it runs.
type Program struct {
	steps    []step
	args     []arg   // of all steps
	data     []byte  // constants: strings, structures, tables
	relocs   []reloc // words of data that hold addresses
	vars     int     // bytes of zeroed memory behind the data
	names    []variableName
	lists    [][]string
	labels   []int  // label number to step index
	files    []file // the process's descriptors, by number
	inline   int    // descriptors below it stay open in the command; report is the next
	moved    bool   // it is loaded at heldAddr, into a stub that has run another program
	nameAt   int    // the process's name during its set-up: offset in data + 1
	readyAt  int    // that when it has done so, if it has one
	image    []byte // a buffer for the stub
	mounting int32  // the mount, counted from one, that further steps and files belong to

	// handed are the words by which a seccomp listener is handed over: a mark with its descriptor behind it, and whether the host
	// program has it. Nil if there is none.
	handed *[2]arg

	sync   int       // the descriptor by which the stub asks for its user namespace's maps, if it does
	idmaps []idmount // the mounts among the files that are idmapped

	givenUp func() error // why a start is given up, nil as long as it is not; what takes long to open asks it
}

// An idmount is a mount among the files that shows other owners.
type idmount struct {
	file      int
	ids       *IDMap
	recursive bool
}

// A step is one instruction of the interpreter.
type step struct {
	op    int32  // the system call's number, or one of the op constants
	n     int32  // the number of arguments
	first int    // the first one's place in Program.args
	out   int    // offset in vars + 1 of where the result goes
	outAt uint64 // or its address, if that is elsewhere
	then  int    // label + 1 to go on with after success
	next  uint64 // or the address of a step of another program
	fail  int    // label + 1 to go on with after one of the errors in errs
	errs  uint64
	name  string
	path  string // what the step is about, for errors
	mount int32  // the mount that it belongs to, counted from one
}

// Instructions that are not system calls.
const (
	opSet  = -1 // out = a0
	opAdd  = -2 // out = a0 + a1
	opTest = -3 // go on if a0 & a2 == a1, else fail with EINVAL
	opFail = -4 // fail with the error a0
)

// anyError makes a step's fail label catch every error; smaller sets have a bit for each errno below 64.
const anyError = ^uint64(0)

func errnoSet(errno ...int) (set uint64) {
	for _, e := range errno {
		set |= 1 << e
	}
	return set
}

type argKind uint8

const (
	argNone      argKind = iota
	argInt               // v, signed
	argHex               // v
	argOctal             // v
	argFlags             // v, shown by names
	argFD                // v: an index of files
	argData              // v: an offset in data; shown as text
	argString            // likewise; text is the string
	argStrings           // likewise; an array of the strings of a list, whose number text is
	argOpenHow           // likewise; struct open_how
	argMountAttr         // likewise; struct mount_attr
	argVar               // v: an offset in vars whose word is loaded when the step runs; text is the name
	argVarAddr           // v: the address of that word
	argErrno             // the error of the last step that failed
)

// An arg has no more than it needs: a start's program has 1,500, written to memory that is in no cache.
type arg struct {
	kind  argKind
	v     uint64
	text  string
	names *flagNames
}

type reloc struct {
	at     int // in data
	target arg // argData or argVarAddr
}

type variableName struct {
	off  int
	name string
}

// A file is a descriptor that the host program opens for the new process.
type file struct {
	text  string
	open  func() (fd int, owned bool, err error)
	mount int32 // that it belongs to, counted from one
}

func num(v int) arg                        { return arg{kind: argInt, v: uint64(v)} }
func octal(v uint32) arg                   { return arg{kind: argOctal, v: uint64(v)} }
func flags(v uint64, names *flagNames) arg { return arg{kind: argFlags, v: v, names: names} }

var (
	null = arg{kind: argInt, v: 0, text: "NULL"}
	all  = arg{kind: argHex, v: ^uint64(0)} // the mask that a test of a whole word has
)

// newProgram has room for what a container of runc's configuration takes: memory that is not used is not touched, but what is
// outgrown is copied.
func newProgram() *Program {
	return &Program{
		steps: make([]step, 0, 768), args: make([]arg, 0, 2560), data: make([]byte, 0, 32<<10), labels: make([]int, 0, 384),
		names: make([]variableName, 0, 192), files: make([]file, 0, 32),
	}
}

// programPool: programs are used again: a start's program is a hundred kilobytes, of which nothing lasts.
var programPool = sync.Pool{New: func() any { return newProgram() }}

func takeProgram() *Program { return programPool.Get().(*Program) }

func (p *Program) giveBack() {
	p.reset()
	programPool.Put(p)
}

func (p *Program) reset() {
	clear(p.steps)
	clear(p.args)
	clear(p.relocs)
	clear(p.lists)
	clear(p.files)
	clear(p.idmaps)
	*p = Program{
		steps: p.steps[:0], args: p.args[:0], data: p.data[:0], relocs: p.relocs[:0], labels: p.labels[:0], names: p.names[:0],
		lists: p.lists[:0], files: p.files[:0], image: p.image[:0], idmaps: p.idmaps[:0],
	}
}

// call appends a system call.
func (p *Program) call(name string, nr int, args ...arg) *step {
	s := p.op(nr, args...)
	s.name = name
	return s
}

func (p *Program) op(op int, args ...arg) *step {
	p.steps = append(p.steps, step{op: int32(op), n: int32(len(args)), first: len(p.args), mount: p.mounting})
	p.args = append(p.args, args...)
	return &p.steps[len(p.steps)-1]
}

func (p *Program) arguments(s *step) []arg { return p.args[s.first:][:s.n] }

// to stores the step's result. about names the step's object in errors. orElse goes to a label on the errors of a set.
func (s *step) to(v arg) *step                   { s.out = int(v.v) + 1; return s }
func (s *step) about(path string) *step          { s.path = path; return s }
func (s *step) orElse(label int, e uint64) *step { s.fail, s.errs = label+1, e; return s }
func (s *step) goTo(label int) *step             { s.then = label + 1; return s }

// label makes a label, place puts it before the next step.
func (p *Program) label() int {
	p.labels = append(p.labels, -1)
	return len(p.labels) - 1
}

func (p *Program) place(label int) { p.labels[label] = len(p.steps) }

// ignore lets the last step fail with these errors.
func (p *Program) ignore(errs uint64) {
	l := p.label()
	p.place(l)
	p.steps[len(p.steps)-1].orElse(l, errs)
}

// if0 goes to the label if v is zero, else on.
func (p *Program) if0(v arg, label int) {
	other := p.label()
	p.op(opTest, v, num(0), all).goTo(label).orElse(other, anyError)
	p.place(other)
}

// is goes on if v is the value where the mask has ones, else to the label.
func (p *Program) is(v, value, mask arg, label int) {
	p.op(opTest, v, value, mask).orElse(label, anyError)
}

func (p *Program) jump(label int) { p.op(opSet, num(0)).goTo(label) }

func (p *Program) alloc(n int) int {
	off := (len(p.data) + 7) &^ 7
	p.data = append(p.data, make([]byte, off-len(p.data)+n)...)
	return off
}

// str is the address of a string that ends with a zero byte.
func (p *Program) str(s string) arg {
	off := len(p.data)
	p.data = append(append(p.data, s...), 0)
	return arg{kind: argString, v: uint64(off), text: s}
}

// bytes is the address of a structure, shown as text.
func (p *Program) bytes(b []byte, text string) arg {
	off := p.alloc(len(b))
	copy(p.data[off:], b)
	return arg{kind: argData, v: uint64(off), text: text}
}

// words is the address of an array of 64-bit words.
func (p *Program) words(text string, w ...uint64) arg {
	off := p.alloc(8 * len(w))
	for i, v := range w {
		binary.NativeEndian.PutUint64(p.data[off+8*i:], v)
	}
	return arg{kind: argData, v: uint64(off), text: text}
}

// pointers is the address of an array of addresses; what is not an address goes in as a number.
func (p *Program) pointers(text string, a ...arg) arg {
	off := p.alloc(8 * len(a))
	for i, x := range a {
		if x.kind == argData || x.kind == argString || x.kind == argVarAddr {
			p.relocs = append(p.relocs, reloc{off + 8*i, x})
		} else {
			binary.NativeEndian.PutUint64(p.data[off+8*i:], x.v)
		}
	}
	return arg{kind: argData, v: uint64(off), text: text}
}

// variable reserves zeroed memory of n bytes. The arg stands for the value of its first word.
func (p *Program) variable(name string, n int) arg {
	off := p.vars
	p.vars += (n + 7) &^ 7
	p.names = append(p.names, variableName{off, name})
	return arg{kind: argVar, v: uint64(off), text: name}
}

// addr is the variable's address instead of its value; at is the variable i bytes further on.
func (a arg) addr() arg { a.kind = argVarAddr; return a }
func (a arg) at(i int) arg {
	a.v += uint64(i)
	if i != 0 {
		a.text += "+" + strconv.Itoa(i)
	}
	return a
}

// file adds a descriptor of the host program.
func (p *Program) file(text string, open func() (fd int, owned bool, err error)) arg {
	p.files = append(p.files, file{text, open, p.mounting})
	return arg{kind: argFD, v: uint64(len(p.files) - 1)}
}

// The layout of the stub's memory: the code and, 64 KiB aligned so that every page size of arm64 will do, one writable
// segment of context, steps, data and variables.
const (
	codeAddr     = 0x200000
	contextAddr  = 0x401000
	contextSize  = 64
	stepSize     = 96
	contextErrno = contextAddr + 8
	contextFD    = 16
)

// base is where the program's segment is.
func (p *Program) base() uint64 {
	if p.moved {
		return heldAddr
	}
	return contextAddr
}

func (p *Program) stepsAddr() uint64 { return p.base() + contextSize }
func (p *Program) dataAddr() uint64  { return p.stepsAddr() + uint64(len(p.steps)*stepSize) }
func (p *Program) varsAddr() uint64  { return (p.dataAddr() + uint64(len(p.data)) + 15) &^ 15 }

// value is the argument's word, and whether it is an address to load from.
func (p *Program) value(a arg) (v uint64, load bool) {
	switch a.kind {
	case argData, argString, argStrings, argOpenHow, argMountAttr:
		return p.dataAddr() + a.v, false
	case argVar:
		return p.varsAddr() + a.v, true
	case argVarAddr:
		return p.varsAddr() + a.v, false
	case argErrno:
		return contextErrno, true
	}
	return a.v, false
}

// address is where a variable lies in the stub's memory.
func (p *Program) address(a arg) uint64 { return p.varsAddr() + a.v }

func (p *Program) target(label int) uint64 {
	if label == 0 {
		return 0
	}
	return p.stepsAddr() + uint64(p.labels[label-1]*stepSize)
}

// writeSegment appends the content of the stub's writable segment to the image, without the variables; size is with them.
func (p *Program) writeSegment() (size uint64) {
	le := binary.NativeEndian
	start := len(p.image)
	n := int(p.dataAddr()-p.base()) + len(p.data)
	p.image = slices.Grow(p.image, n)[:start+n]
	b := p.image[start:]
	clear(b)
	le.PutUint64(b[contextFD:], uint64(p.inline))
	for i := range p.steps {
		s := &p.steps[i]
		w := b[contextSize+i*stepSize:]
		le.PutUint64(w, uint64(s.op))
		var indirect uint64
		for k, a := range p.arguments(s) {
			v, load := p.value(a)
			le.PutUint64(w[8+8*k:], v)
			if load {
				indirect |= 1 << k
			}
		}
		out, next := s.outAt, s.next
		if s.out != 0 {
			out = p.varsAddr() + uint64(s.out-1)
		}
		if s.then != 0 {
			next = p.target(s.then)
		}
		le.PutUint64(w[56:], out)
		le.PutUint64(w[64:], next)
		le.PutUint64(w[72:], p.target(s.fail))
		le.PutUint64(w[80:], indirect)
		le.PutUint64(w[88:], s.errs)
	}
	d := b[p.dataAddr()-p.base():]
	copy(d, p.data)
	for _, r := range p.relocs {
		v, _ := p.value(r.target)
		le.PutUint64(d[r.at:], v)
	}
	return p.varsAddr() - p.base() + uint64(p.vars)
}

// failed finds the step that a report names.
func (p *Program) failed(addr uint64) *step {
	i := (addr - p.stepsAddr()) / stepSize
	if addr < p.stepsAddr() || i >= uint64(len(p.steps)) {
		return &step{name: "report", path: "0x" + strconv.FormatUint(addr, 16)}
	}
	return &p.steps[i]
}

// Len is the number of steps.
func (p *Program) Len() int { return len(p.steps) }
