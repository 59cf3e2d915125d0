#include "textflag.h"

// _early is where the program begins if it is linked with "-E _early": see early_linux.go. The stack is the kernel's.
TEXT _early(SB),NOSPLIT|NOFRAME,$0
	MOVD	RSP, R0
	SUB	$32, RSP
	MOVD	R0, 8(RSP)
	MOVD	ZR, g
	CALL	·early(SB)
	MOVBU	16(RSP), R0
	ADD	$32, RSP
	CBZ	R0, main
	MOVD	$94, R8 // exit_group
	MOVD	$0, R0
	SVC
main:
	B	_rt0_arm64_linux(SB)
