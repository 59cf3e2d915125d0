#include "textflag.h"

// The interpreter. It is copied into the stub and runs there; nothing of it runs in the host program. It is position
// independent, calls nothing and does not use the stack.
//
// A step is twelve words:
//    0 op: a system call's number, or a negative op      56 out: where the result goes, or 0
//    8 … 48 six arguments                                64 then: the next step, or 0 for the one that follows
//   80 indirect: a bit for each argument to be loaded    72 fail: the next step after an error of errs, or 0
//   88 errs: a bit for each errno, or all ones
// The context is: 0 the failed step, 8 the last errno, 16 the descriptor for reports.
//
// R12 is the context, R13 the step.

// func stub()
TEXT ·stub(SB),NOSPLIT|NOFRAME,$0-0
	// More than one argument: a script has /proc/self/exe as its interpreter and runs us again.
	MOVQ	0(SP), AX
	CMPQ	AX, $1
	JNE	again
	MOVQ	$0x401000, R12
	LEAQ	64(R12), R13
loop:
	MOVQ	80(R13), BX
	MOVQ	8(R13), DI
	MOVQ	16(R13), SI
	MOVQ	24(R13), DX
	MOVQ	32(R13), R10
	MOVQ	40(R13), R8
	MOVQ	48(R13), R9
	TESTQ	BX, BX
	JEQ	ready
	BTQ	$0, BX
	JCC	a1
	MOVQ	(DI), DI
a1:
	BTQ	$1, BX
	JCC	a2
	MOVQ	(SI), SI
a2:
	BTQ	$2, BX
	JCC	a3
	MOVQ	(DX), DX
a3:
	BTQ	$3, BX
	JCC	a4
	MOVQ	(R10), R10
a4:
	BTQ	$4, BX
	JCC	a5
	MOVQ	(R8), R8
a5:
	BTQ	$5, BX
	JCC	ready
	MOVQ	(R9), R9
ready:
	MOVQ	0(R13), AX
	TESTQ	AX, AX
	JLT	special
	SYSCALL
	CMPQ	AX, $0xfffffffffffff001
	JCC	error
done:
	MOVQ	56(R13), BX
	TESTQ	BX, BX
	JEQ	next
	MOVQ	AX, (BX)
next:
	MOVQ	64(R13), BX
	TESTQ	BX, BX
	JNE	jump
	ADDQ	$96, R13
	JMP	loop
jump:
	MOVQ	BX, R13
	JMP	loop
special:
	CMPQ	AX, $-1
	JEQ	set
	CMPQ	AX, $-2
	JEQ	add
	CMPQ	AX, $-3
	JEQ	test
	MOVQ	DI, AX
	NEGQ	AX
	JMP	error
set:
	MOVQ	DI, AX
	JMP	done
add:
	LEAQ	(DI)(SI*1), AX
	JMP	done
test:
	ANDQ	DX, DI
	CMPQ	DI, SI
	JEQ	next
	MOVQ	$-22, AX
error:
	NEGQ	AX
	MOVQ	AX, 8(R12)
	MOVQ	72(R13), BX
	TESTQ	BX, BX
	JEQ	die
	MOVQ	88(R13), DX
	CMPQ	DX, $-1
	JEQ	jump
	CMPQ	AX, $63
	JHI	die
	BTQ	AX, DX
	JCS	jump
die:
	MOVQ	R13, 0(R12)
	MOVQ	$1, AX
	MOVQ	16(R12), DI
	MOVQ	R12, SI
	MOVQ	$16, DX
	SYSCALL
	MOVQ	$127, DI
exit:
	MOVQ	$231, AX
	SYSCALL
	JMP	exit
again:
	MOVQ	$126, DI
	JMP	exit
	// The mark of the end, see stubCode.
	LONG	$0x0bb0c0de
	LONG	$0x0bb0c0de
	LONG	$0x0bb0c0de
	LONG	$0x0bb0c0de
	RET

// func stubAddr() uintptr
TEXT ·stubAddr(SB),NOSPLIT,$0-8
	LEAQ	·stub(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
