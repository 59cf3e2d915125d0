package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

// everything sets each limit, on any layout that this machine has.
func everything() *Resources {
	return &Resources{
		Memory: 64 << 20, MemorySwap: Unlimited, MemoryReservation: 32 << 20, CPUQuota: 50 * time.Millisecond,
		CPUPeriod: 50 * time.Millisecond, CPUShares: 512, CPUs: "0", Mems: "0", Pids: 100,
	}
}

// TestCreateFails fails each step of a Create in turn, and finds nothing left.
func TestCreateFails(t *testing.T) {
	m := newManager(t)
	errStep := errors.New("failed on purpose")
	limits := everything()
	idle := true
	limits.CPUBurst, limits.CPUIdle = 10*time.Millisecond, &idle
	if all, _ := filepath.Glob("/sys/block/*/dev"); len(all) > 0 {
		d, _ := disk(t)
		d.ReadBytes, d.WriteOps = 1<<20, 100
		limits.IODevices = []IODevice{d}
	}
	if m.controllers["hugetlb"] != nil && slices.Contains(hugepageSizes(), "2MB") {
		limits.Hugepages = []HugepageLimit{{"2MB", 2 << 20}}
	}
	if m.unified != nil {
		limits.Unified = map[string]string{"cgroup.max.depth": "5", "cgroup.max.descendants": "7"}
	}
	for _, absolute := range []bool{false, true} {
		var steps []string
		run := func(failAt int) (*Group, string, error) {
			name := testenv.CgroupName(t) + "/between/leaf"
			if absolute {
				name = "/" + name
			}
			steps = nil
			m.hook = func(step, path string) error {
				if step == "rmdir" {
					return nil
				}
				steps = append(steps, step+" "+path)
				if len(steps) == failAt {
					return errStep
				}
				return nil
			}
			defer func() { m.hook = nil }()
			g, err := m.Create(name, limits)
			return g, strings.Split(strings.TrimPrefix(name, "/"), "/")[0], err
		}
		for range 2 { // the first may have controllers to enable
			g, _, err := run(0)
			require.NoError(t, err)
			require.NoError(t, g.Remove())
			require.NoError(t, g.Close())
		}
		total := len(steps)
		require.Greater(t, total, 10)
		for k := 1; k <= total; k++ {
			g, top, err := run(k)
			require.Nil(t, g)
			require.ErrorIs(t, err, errStep, "step %d", k)
			for _, h := range m.hierarchies {
				for _, dir := range []string{h.path, h.mount.point} {
					require.NoDirExists(t, filepath.Join(dir, top), "after %s", steps[k-1])
				}
			}
		}
		t.Logf("%d steps, absolute %v", total, absolute)
	}
}

// TestCreateFailsForReal: limits that the kernel or the host refuses name the field, and leave nothing.
func TestCreateFailsForReal(t *testing.T) {
	m := newManager(t)
	for field, r := range map[string]*Resources{
		"Memory":     {Memory: 4 << 20},
		"MemorySwap": {MemorySwap: 64 << 20},
		"CPUs":       {CPUs: "60000"},
		"Mems":       {Mems: "1000"},
		"Devices":    {Devices: []DeviceRule{{Type: 'c', Major: 5000}}},
	} {
		name := testenv.CgroupName(t)
		_, err := m.Create(name, r)
		var re *ResourceError
		require.ErrorAs(t, err, &re, field)
		require.Equal(t, field, re.Field)
		for _, h := range m.hierarchies {
			require.NoDirExists(t, filepath.Join(h.path, name))
		}
	}
}

// TestCreateTogether creates and removes groups below a parent that each of them makes and removes if it is empty.
func TestCreateTogether(t *testing.T) {
	m := newManager(t)
	top := testenv.CgroupName(t)
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for w := range 4 {
		wg.Go(func() {
			for i := range 15 {
				g, err := m.Create(fmt.Sprintf("%s/a/%d-%d", top, w, i), &Resources{Pids: 5})
				if err != nil {
					errs <- err
					continue
				}
				if err := g.Remove(); err != nil {
					errs <- err
				}
				_ = g.Close()
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	for _, h := range m.hierarchies {
		_, err := os.Stat(filepath.Join(h.path, top))
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}
