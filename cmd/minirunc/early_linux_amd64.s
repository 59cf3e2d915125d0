#include "textflag.h"

// _early is where the program begins if it is linked with "-E _early": see early_linux.go. The stack is the kernel's.
TEXT _early(SB),NOSPLIT|NOFRAME,$0
	// Go functions that assembly calls look for a goroutine in the thread's own memory: there is none. A program that is linked
	// dynamically has such memory from its loader, which C's functions need.
	MOVQ	$158, AX // arch_prctl
	MOVQ	$0x1003, DI // ARCH_GET_FS
	LEAQ	earlyThread<>(SB), SI
	SYSCALL
	CMPQ	earlyThread<>(SB), $0
	JNE	there
	MOVQ	$158, AX
	MOVQ	$0x1002, DI // ARCH_SET_FS
	LEAQ	earlyThread<>+64(SB), SI
	SYSCALL
there:
	MOVQ	SP, AX
	SUBQ	$24, SP // two words, and 16 bytes for each of which the stack is a multiple
	MOVQ	AX, 0(SP)
	CALL	·early(SB)
	MOVBLZX	8(SP), DI
	ADDQ	$24, SP
	TESTB	DI, DI
	JEQ	main
	MOVQ	$231, AX // exit_group
	MOVQ	$0, DI
	SYSCALL
main:
	JMP	_rt0_amd64_linux(SB)

GLOBL earlyThread<>(SB), NOPTR, $128
