#include "textflag.h"

// The rounds' constants (FIPS 180-4, 4.2.2).
DATA k<>+0(SB)/8, $0x71374491428a2f98
DATA k<>+8(SB)/8, $0xe9b5dba5b5c0fbcf
DATA k<>+16(SB)/8, $0x59f111f13956c25b
DATA k<>+24(SB)/8, $0xab1c5ed5923f82a4
DATA k<>+32(SB)/8, $0x12835b01d807aa98
DATA k<>+40(SB)/8, $0x550c7dc3243185be
DATA k<>+48(SB)/8, $0x80deb1fe72be5d74
DATA k<>+56(SB)/8, $0xc19bf1749bdc06a7
DATA k<>+64(SB)/8, $0xefbe4786e49b69c1
DATA k<>+72(SB)/8, $0x240ca1cc0fc19dc6
DATA k<>+80(SB)/8, $0x4a7484aa2de92c6f
DATA k<>+88(SB)/8, $0x76f988da5cb0a9dc
DATA k<>+96(SB)/8, $0xa831c66d983e5152
DATA k<>+104(SB)/8, $0xbf597fc7b00327c8
DATA k<>+112(SB)/8, $0xd5a79147c6e00bf3
DATA k<>+120(SB)/8, $0x1429296706ca6351
DATA k<>+128(SB)/8, $0x2e1b213827b70a85
DATA k<>+136(SB)/8, $0x53380d134d2c6dfc
DATA k<>+144(SB)/8, $0x766a0abb650a7354
DATA k<>+152(SB)/8, $0x92722c8581c2c92e
DATA k<>+160(SB)/8, $0xa81a664ba2bfe8a1
DATA k<>+168(SB)/8, $0xc76c51a3c24b8b70
DATA k<>+176(SB)/8, $0xd6990624d192e819
DATA k<>+184(SB)/8, $0x106aa070f40e3585
DATA k<>+192(SB)/8, $0x1e376c0819a4c116
DATA k<>+200(SB)/8, $0x34b0bcb52748774c
DATA k<>+208(SB)/8, $0x4ed8aa4a391c0cb3
DATA k<>+216(SB)/8, $0x682e6ff35b9cca4f
DATA k<>+224(SB)/8, $0x78a5636f748f82ee
DATA k<>+232(SB)/8, $0x8cc7020884c87814
DATA k<>+240(SB)/8, $0xa4506ceb90befffa
DATA k<>+248(SB)/8, $0xc67178f2bef9a3f7
GLOBL k<>(SB), RODATA|NOPTR, $256

// The order of the bytes in each word, turned around.
DATA flip<>+0(SB)/8, $0x0405060700010203
DATA flip<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL flip<>(SB), RODATA|NOPTR, $16

// LOAD reads a state, and puts its words where the instructions want them: ABEF in s0, CDGH in s1.
#define LOAD(p, s0, s1) \
	MOVOU   (p), s0; \
	MOVOU   16(p), s1; \
	PSHUFD  $0xb1, s0, s0; \
	PSHUFD  $0x1b, s1, s1; \
	MOVO    s0, X13; \
	PALIGNR $8, s1, s0; \
	PBLENDW $0xf0, X13, s1

// STORE is LOAD backwards.
#define STORE(p, s0, s1) \
	PSHUFD  $0x1b, s0, s0; \
	PSHUFD  $0xb1, s1, s1; \
	MOVO    s0, X13; \
	PBLENDW $0xf0, s1, s0; \
	PALIGNR $8, X13, s1; \
	MOVOU   s0, (p); \
	MOVOU   s1, 16(p)

// FOUR does four rounds, whose words are in X0 with their constants added.
#define FOUR(s0, s1) \
	SHA256RNDS2 X0, s0, s1; \
	PSHUFD      $0x0e, X0, X0; \
	SHA256RNDS2 X0, s1, s0

// READ reads the n-th four words of a block and does their rounds.
#define READ(n, p, m, s0, s1) \
	MOVOU  (n*16)(p), m; \
	PSHUFB X15, m; \
	MOVO   m, X0; \
	PADDD  (n*16)(AX), X0; \
	FOUR(s0, s1)

// NEXT computes the next four words into m0, of the four before in m3 and those before them, and does their rounds, the n-th.
#define NEXT(n, m0, m1, m2, m3, s0, s1) \
	SHA256MSG1 m1, m0; \
	MOVO       m3, X13; \
	PALIGNR    $4, m2, X13; \
	PADDD      X13, m0; \
	SHA256MSG2 m3, m0; \
	MOVO       m0, X0; \
	PADDD      (n*16)(AX), X0; \
	FOUR(s0, s1)

#define READ2(n, m, o) \
	READ(n, SI, m, X1, X2); \
	READ(n, DI, o, X7, X8)

#define NEXT2(n, m0, m1, m2, m3, o0, o1, o2, o3) \
	NEXT(n, m0, m1, m2, m3, X1, X2); \
	NEXT(n, o0, o1, o2, o3, X7, X8)

// func blocks(a, b *[8]uint32, p, q *byte, n int)
// Requires: SHA, SSE2, SSE4.1, SSSE3
TEXT ·blocks(SB), NOSPLIT, $64-40
	MOVQ a+0(FP), R8
	MOVQ b+8(FP), R9
	MOVQ p+16(FP), SI
	MOVQ q+24(FP), DI
	MOVQ n+32(FP), CX
	LEAQ k<>(SB), AX
	MOVOU flip<>(SB), X15
	LOAD(R8, X1, X2)
	LOAD(R9, X7, X8)

block:
	MOVOU X1, 0(SP)
	MOVOU X2, 16(SP)
	MOVOU X7, 32(SP)
	MOVOU X8, 48(SP)
	READ2(0, X3, X9)
	READ2(1, X4, X10)
	READ2(2, X5, X11)
	READ2(3, X6, X12)
	NEXT2(4, X3, X4, X5, X6, X9, X10, X11, X12)
	NEXT2(5, X4, X5, X6, X3, X10, X11, X12, X9)
	NEXT2(6, X5, X6, X3, X4, X11, X12, X9, X10)
	NEXT2(7, X6, X3, X4, X5, X12, X9, X10, X11)
	NEXT2(8, X3, X4, X5, X6, X9, X10, X11, X12)
	NEXT2(9, X4, X5, X6, X3, X10, X11, X12, X9)
	NEXT2(10, X5, X6, X3, X4, X11, X12, X9, X10)
	NEXT2(11, X6, X3, X4, X5, X12, X9, X10, X11)
	NEXT2(12, X3, X4, X5, X6, X9, X10, X11, X12)
	NEXT2(13, X4, X5, X6, X3, X10, X11, X12, X9)
	NEXT2(14, X5, X6, X3, X4, X11, X12, X9, X10)
	NEXT2(15, X6, X3, X4, X5, X12, X9, X10, X11)
	MOVOU 0(SP), X13
	PADDD X13, X1
	MOVOU 16(SP), X13
	PADDD X13, X2
	MOVOU 32(SP), X13
	PADDD X13, X7
	MOVOU 48(SP), X13
	PADDD X13, X8
	ADDQ  $64, SI
	ADDQ  $64, DI
	DECQ  CX
	JNZ   block
	STORE(R8, X1, X2)
	STORE(R9, X7, X8)
	RET

// func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL subleaf+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET
