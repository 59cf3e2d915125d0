package namespace

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSubIDs(t *testing.T) {
	for _, c := range []struct {
		file string
		want []IDMapping
	}{
		{"", nil},
		{"bob:100000:65536\n", nil},
		{"ann:100000:65536\nbob:1:2\n1000:300000:10", []IDMapping{{0, 100000, 65536}, {0, 300000, 10}}},
		{"ann:100000:65536\n1000:165535:10\n", []IDMapping{{0, 100000, 65536}}},
		{"ann:-1:5\nann:1:4294967296\nann:4294967295:1\nann:5:0\nann:5\nann:5:6:7\n:5:6\n", nil},
	} {
		require.Equal(t, c.want, parseSubIDs([]byte(c.file), "ann", "1000"), c.file)
	}
}

func FuzzParseSubIDs(f *testing.F) {
	f.Add([]byte("ann:100000:65536\n1000:165536:65536\n"))
	f.Add([]byte("ann:4294967295:1\n:::\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ranges := parseSubIDs(b, "ann", "1000")
		next := uint64(0)
		for i := range ranges {
			ranges[i].ContainerID = uint32(next)
			if next += uint64(ranges[i].Size); next >= maxID || i == maxMappings-1 {
				return
			}
		}
		if err := checkMappings(ranges); err != nil && len(mapText(ranges)) <= maxMapBytes {
			t.Fatal(err)
		}
	})
}
