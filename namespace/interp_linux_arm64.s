#include "textflag.h"

// The interpreter; interp_linux_amd64.s describes it. R20 is the context, R19 the step.

// func stub()
TEXT ·stub(SB),NOSPLIT|NOFRAME,$0-0
	MOVD	0(RSP), R0
	CMP	$1, R0
	BNE	again
	MOVD	$0x401000, R20
	ADD	$64, R20, R19
loop:
	MOVD	80(R19), R9
	MOVD	8(R19), R0
	MOVD	16(R19), R1
	MOVD	24(R19), R2
	MOVD	32(R19), R3
	MOVD	40(R19), R4
	MOVD	48(R19), R5
	TBZ	$0, R9, a1
	MOVD	(R0), R0
a1:
	TBZ	$1, R9, a2
	MOVD	(R1), R1
a2:
	TBZ	$2, R9, a3
	MOVD	(R2), R2
a3:
	TBZ	$3, R9, a4
	MOVD	(R3), R3
a4:
	TBZ	$4, R9, a5
	MOVD	(R4), R4
a5:
	TBZ	$5, R9, ready
	MOVD	(R5), R5
ready:
	MOVD	0(R19), R8
	TBNZ	$63, R8, special
	SVC
	CMN	$4095, R0
	BCS	error
done:
	MOVD	56(R19), R9
	CBZ	R9, next
	MOVD	R0, (R9)
next:
	MOVD	64(R19), R9
	CBNZ	R9, jump
	ADD	$96, R19
	B	loop
jump:
	MOVD	R9, R19
	B	loop
special:
	CMN	$1, R8
	BEQ	done
	CMN	$2, R8
	BEQ	add
	CMN	$3, R8
	BEQ	test
	NEG	R0, R0
	B	error
add:
	ADD	R1, R0
	B	done
test:
	AND	R2, R0
	CMP	R1, R0
	BEQ	next
	MOVD	$-22, R0
error:
	NEG	R0, R0
	MOVD	R0, 8(R20)
	MOVD	72(R19), R9
	CBZ	R9, die
	MOVD	88(R19), R10
	CMN	$1, R10
	BEQ	jump
	CMP	$63, R0
	BHI	die
	LSR	R0, R10
	TBNZ	$0, R10, jump
die:
	MOVD	R19, 0(R20)
	MOVD	16(R20), R0
	MOVD	R20, R1
	MOVD	$16, R2
	MOVD	$64, R8
	SVC
	MOVD	$127, R0
exit:
	MOVD	$94, R8
	SVC
	B	exit
again:
	MOVD	$126, R0
	B	exit
	// The mark of the end, see stubCode.
	WORD	$0x0bb0c0de
	WORD	$0x0bb0c0de
	WORD	$0x0bb0c0de
	WORD	$0x0bb0c0de
	RET

// func stubAddr() uintptr
TEXT ·stubAddr(SB),NOSPLIT,$0-8
	MOVD	$·stub(SB), R0
	MOVD	R0, ret+0(FP)
	RET
