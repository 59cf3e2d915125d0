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

TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0-0
	MOVL	$15, AX // rt_sigreturn
	SYSCALL
	INT	$3

// func functions() (handler, restorer uintptr)
TEXT ·functions(SB),NOSPLIT,$0-16
	LEAQ	·handler(SB), AX
	MOVQ	AX, handler+0(FP)
	LEAQ	·restorer(SB), AX
	MOVQ	AX, restorer+8(FP)
	RET
