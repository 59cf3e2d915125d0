package sha256pair

// blocks computes the states a and b after n further blocks, at least one, at p and q.
//
//go:noescape
func blocks(a, b *[8]uint32, p, q *byte, n int)

// cpuid is the instruction.
func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

// capable says whether the processor has what blocks is made of: SSSE3, SSE4.1 and SHA.
func capable() bool {
	if last, _, _, _ := cpuid(0, 0); last < 7 {
		return false
	}
	_, _, one, _ := cpuid(1, 0)
	_, seven, _, _ := cpuid(7, 0)
	return one>>9&1 == 1 && one>>19&1 == 1 && seven>>29&1 == 1
}
