package cgroups

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// playWrite writes 64 KiB past the page cache to the file that it reads a line with the name of, and says "done".
func playWrite([]string) int {
	fmt.Println("ready")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return 1
	}
	fd, err := unix.Open(line[:len(line)-1], unix.O_WRONLY|unix.O_CREAT|unix.O_DIRECT|unix.O_SYNC|unix.O_CLOEXEC, 0o600)
	if err == nil {
		buf := make([]byte, 64<<10+4096)
		skip := (4096 - int(uintptr(unsafe.Pointer(&buf[0]))&4095)) & 4095
		_, err = unix.Write(fd, buf[skip:skip+64<<10])
	}
	fmt.Println("done", err)
	time.Sleep(time.Hour)
	return 0
}

func TestStatsIO(t *testing.T) {
	m := newManager(t)
	if m.controllers["blkio"] == nil && m.controllers["io"] == nil {
		t.Skip("needs the controller for block devices")
	}
	// Some kernels count on v1 only where there is a limit, 6.1 among them.
	d, _ := disk(t)
	d.WriteBytes, d.ReadBytes = 1<<40, 1<<40
	g := newGroup(t, m, &Resources{IODevices: []IODevice{d}})
	var fs unix.Statfs_t
	dir := t.TempDir()
	require.NoError(t, unix.Statfs(dir, &fs))
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		t.Skip("needs a file system on a block device")
	}
	h := newHelper(t, g, "cg-write")
	h.say(dir + "/file")
	require.Equal(t, "done <nil>", h.line())
	s, err := g.Stats()
	require.NoError(t, err)
	require.GreaterOrEqual(t, s.IO.WriteBytes, uint64(64<<10),
		"%s", value(t, g, m.ioController(), "io.stat", "blkio.throttle.io_service_bytes_recursive"))
	require.Positive(t, s.IO.Writes)
	require.NotEmpty(t, s.IO.Devices)
	require.GreaterOrEqual(t, s.IO.Devices[0].WriteBytes, uint64(64<<10))
}

// TestStatsBreakdown: what docker stats shows, and what it is made of.
func TestStatsBreakdown(t *testing.T) {
	m := newManager(t)
	name := testenv.CgroupName(t)
	r := &Resources{Memory: 64 << 20, MemorySwap: 64 << 20, Hugepages: []HugepageLimit{{"2MB", 8 << 20}}}
	g, err := m.Create(name, r)
	if errors.Is(err, errors.ErrUnsupported) {
		r.Hugepages = nil // no controller, or no huge pages
		g, err = m.Create(name, r)
	}
	require.NoError(t, err)
	cleanGroup(t, g)
	h := newHelper(t, g, "cg-hog", "200")
	h.say("go")
	require.Equal(t, syscall.SIGKILL, h.wait())
	hog := newHelper(t, g, "cg-hog", "16")
	hog.say("go")
	require.Equal(t, "done", hog.line())
	s, err := g.Stats()
	require.NoError(t, err)
	if m.Mode() == V2 || !kernelAtLeast(t, 6, 13) { // later kernels do not count it on v1
		require.Positive(t, s.Memory.LimitHits)
	}
	require.Positive(t, s.Memory.Faults)
	require.Positive(t, s.Memory.Used())
	require.LessOrEqual(t, s.Memory.Used(), s.Memory.Current)
	require.NotEmpty(t, s.Memory.Detail)
	if m.Mode() == V2 && kernelAtLeast(t, 5, 18) { // v1 counts only what passes its batches
		require.Positive(t, s.Memory.Kernel)
	}
	if r.Hugepages != nil {
		require.Equal(t, Hugepages{Limit: 8 << 20}, s.Hugepages["2MB"])
	}
	if m.controllers["cpuacct"] == nil {
		require.Empty(t, s.CPU.PerCPU)
		return
	}
	var sum time.Duration
	for _, d := range s.CPU.PerCPU {
		sum += d
	}
	require.Positive(t, sum)
	require.InDelta(t, s.CPU.Usage.Seconds(), sum.Seconds(), 0.1)
}
