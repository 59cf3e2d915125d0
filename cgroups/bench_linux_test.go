package cgroups

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limited is what a container with the usual limits asks for; the default device rules come on top.
var limited = &Resources{Memory: 64 << 20, CPUQuota: DefaultCPUPeriod / 2, CPUShares: 512, Pids: 100}

// BenchmarkCreate creates and removes a group. With limits on nine v1 hierarchies and the unified one, the aim is one
// millisecond. "floor" makes and removes the bare directories.
func BenchmarkCreate(b *testing.B) {
	m := newManager(b)
	for name, r := range map[string]*Resources{"limits": limited, "no limits": {AllDevices: true}} {
		b.Run(name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				i++
				g, err := m.Create("caisson-test-bench-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(i), r)
				require.NoError(b, err)
				_, err = g.Tasks()
				require.NoError(b, err)
				require.NoError(b, g.Remove())
				require.NoError(b, g.Close())
			}
		})
	}
	b.Run("floor", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			for _, h := range m.hierarchies {
				require.NoError(b, os.Mkdir(h.path+"/caisson-test-bench-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(i), 0o755))
			}
			for _, h := range m.hierarchies {
				require.NoError(b, os.Remove(h.path+"/caisson-test-bench-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(i)))
			}
		}
	})
}

func BenchmarkStats(b *testing.B) {
	m := newManager(b)
	g := newGroup(b, m, limited)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			_, err := g.Stats()
			require.NoError(b, err)
		}
	})
	b.Run("OOM kills", func(b *testing.B) {
		for b.Loop() {
			_, err := g.OOMKills()
			require.NoError(b, err)
		}
	})
}

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		m, err := Detect()
		require.NoError(b, err)
		require.NoError(b, m.Close())
	}
}

func BenchmarkFreezeThaw(b *testing.B) {
	m := newManager(b)
	g := newGroup(b, m, nil)
	newHelper(b, g, "cg-sleep")
	time.Sleep(10 * time.Millisecond)
	for b.Loop() {
		require.NoError(b, g.Freeze(b.Context()))
		require.NoError(b, g.Thaw())
	}
}
