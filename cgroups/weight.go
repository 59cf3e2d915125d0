package cgroups

import "math"

// Weight converts CPU shares, the weight of cgroup v1 (2 to 262144, by default 1024), to cpu.weight of v2 (1 to 10000,
// by default 100). It is the conversion of runc since 1.3.2 and crun since 1.23: a quadratic curve between the
// logarithms that maps minimum, default and maximum onto each other. (The older linear one made 39 of the default.)
// Values out of range give the nearest bound; 0, which stands for "not set", gives 0.
func Weight(shares uint64) uint64 {
	switch {
	case shares == 0:
		return 0
	case shares <= MinCPUShares:
		return 1
	case shares >= MaxCPUShares:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}
