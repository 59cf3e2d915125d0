#include "textflag.h"

// The handler runs on a thread of Go's at any place, on its stack for signals. It calls nothing and uses nothing of Go's.
TEXT ·handler(SB),NOSPLIT|NOFRAME,$0-0
	PUSHQ	DI // the signal, whose number is in the first byte
	MOVL	·to(SB), DI
	MOVQ	SP, SI
	MOVL	$1, DX
	MOVL	$1, AX // write
	SYSCALL
	POPQ	DI
	RET // to the restorer

// A code above 0 is the kernel's own, of a fault.
TEXT ·faultHandler(SB),NOSPLIT|NOFRAME,$0-0
	CMPL	8(SI), $0 // siginfo's code
	JLE	sent
	MOVQ	·gos(SB), AX
	JMP	AX

sent:
	JMP	·handler(SB)

TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0-0
	MOVL	$15, AX // rt_sigreturn
	SYSCALL
	INT	$3

// func functions() (handler, faultHandler, restorer uintptr)
TEXT ·functions(SB),NOSPLIT,$0-24
	LEAQ	·handler(SB), AX
	MOVQ	AX, handler+0(FP)
	LEAQ	·faultHandler(SB), AX
	MOVQ	AX, faultHandler+8(FP)
	LEAQ	·restorer(SB), AX
	MOVQ	AX, restorer+16(FP)
	RET
