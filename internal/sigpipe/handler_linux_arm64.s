#include "textflag.h"

// The handler runs on a thread of Go's at any place, on its stack for signals. It calls nothing and uses nothing of Go's.
TEXT ·handler(SB),NOSPLIT|NOFRAME,$0-0
	MOVD	RSP, R3
	SUB	$16, R3
	MOVD	R3, RSP
	MOVD	R0, (R3) // the signal, whose number is in the first byte
	MOVW	·to(SB), R0
	MOVD	R3, R1
	MOVD	$1, R2
	MOVD	$64, R8 // write
	SVC
	ADD	$16, R3
	MOVD	R3, RSP
	RET // to the restorer

// A code above 0 is the kernel's own, of a fault.
TEXT ·faultHandler(SB),NOSPLIT|NOFRAME,$0-0
	MOVW	8(R1), R3 // siginfo's code
	CMPW	$0, R3
	BLE	sent
	MOVD	·gos(SB), R3
	JMP	(R3)

sent:
	JMP	·handler(SB)

TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0-0
	MOVD	$139, R8 // rt_sigreturn
	SVC
	UNDEF

// func functions() (handler, faultHandler, restorer uintptr)
TEXT ·functions(SB),NOSPLIT,$0-24
	MOVD	$·handler(SB), R0
	MOVD	R0, handler+0(FP)
	MOVD	$·faultHandler(SB), R0
	MOVD	R0, faultHandler+8(FP)
	MOVD	$·restorer(SB), R0
	MOVD	R0, restorer+16(FP)
	RET
