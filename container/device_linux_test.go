package container_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
)

// TestNodes makes nodes by number; which may be opened the rules say.
func TestNodes(t *testing.T) {
	mode, id := os.FileMode(0o640), uint32(7)
	nodes := []specs.LinuxDevice{
		{Path: "/dev/sub/zero", Type: "c", Major: 1, Minor: 5, FileMode: &mode, UID: &id, GID: &id},
		{Path: "/dev/pipe", Type: "p", FileMode: &mode},
		{Path: "/dev/disk", Type: "b", Major: 7, Minor: 99},
		{Path: "/dev/kmsg", Type: "u", Major: 1, Minor: 11},
		{Path: "/dev/null", Type: "c", Major: 1, Minor: 3}, // it is there anyway
	}
	c := newContainer(t, "devices", "/dev/sub/zero", "/dev/pipe", "/dev/disk", "/dev/null", "/dev/kmsg")
	c.Nodes = nodes
	require.Equal(t, "/dev/sub/zero 20640 1:5 7 7 ok\n/dev/pipe 10640 0:0 0 0\n/dev/disk 60666 7:99 0 0 operation not permitted\n"+
		"/dev/null 20666 1:3 0 0 ok\n/dev/kmsg 20666 1:11 0 0 operation not permitted\n", output(t, c))
	c = newContainer(t, "devices", "/dev/kmsg")
	c.Nodes = nodes
	c.DeviceRules = []cgroups.DeviceRule{{Allow: true, Type: 'c', Major: 1, Minor: 11, Access: "w"}}
	require.Equal(t, "/dev/kmsg 20666 1:11 0 0 ok\n", output(t, c))
}

// devices prints kind, number and owner of nodes, and whether one can be opened for writing.
func devices(args []string) int {
	for _, a := range args[1:] {
		var st unix.Stat_t
		if err := unix.Lstat(a, &st); err != nil {
			println(a, err.Error())
			return 1
		}
		text := ""
		if st.Mode&unix.S_IFMT != unix.S_IFIFO {
			text = " ok"
			if fd, err := unix.Open(a, unix.O_WRONLY, 0); err != nil {
				text = " " + err.Error()
			} else {
				_ = unix.Close(fd)
			}
		}
		_, _ = os.Stdout.WriteString(a + " " + octal(st.Mode) + " " + itoa(int(unix.Major(st.Rdev))) + ":" +
			itoa(int(unix.Minor(st.Rdev))) + " " + itoa(int(st.Uid)) + " " + itoa(int(st.Gid)) + text + "\n")
	}
	return 0
}

// TestNoCgroupNoDevices: where no control group guards the devices, a container cannot make their nodes.
func TestNoCgroupNoDevices(t *testing.T) {
	c := newContainer(t, "mknod", "/tmp/kmsg", "1", "11")
	c.NoCgroup, c.Cgroup = true, ""
	out, err := c.CombinedOutput(t.Context())
	require.Error(t, err)
	require.Contains(t, string(out), "operation not permitted")
	c = newContainer(t, "mknod", "/tmp/kmsg", "1", "11")
	out, err = c.CombinedOutput(t.Context())
	require.Error(t, err)
	require.Contains(t, string(out), "made\nopen: operation not permitted", "its control group guards them")
	c = newContainer(t, "mknod", "/tmp/kmsg", "1", "11")
	c.NoCgroup, c.Cgroup, c.CapAdd = true, "", []string{"MKNOD"}
	require.Contains(t, output(t, c), "made\n")
}

// mknod makes a character device and opens it.
func mknod(args []string) int {
	if err := unix.Mknod(args[1], unix.S_IFCHR|0o600, int(unix.Mkdev(uint32(atoi(args[2])), uint32(atoi(args[3]))))); err != nil {
		println("mknod:", err.Error())
		return 1
	}
	_, _ = os.Stdout.WriteString("made\n")
	if _, err := unix.Open(args[1], unix.O_WRONLY, 0); err != nil {
		_, _ = os.Stdout.WriteString("open: " + err.Error())
		return 1
	}
	return 0
}

// TestPrivilegedDevices: a privileged container has all devices, and Devices may give one another name.
func TestPrivilegedDevices(t *testing.T) {
	c := newContainer(t, "devices", "/dev/message", "/dev/kmsg")
	c.Privileged = true
	c.Devices = []container.Device{{Source: "/dev/kmsg", Target: "/dev/message"}}
	out := output(t, c)
	require.Contains(t, out, "/dev/message 20")
	require.Contains(t, out, " 1:11 0 0 ok\n/dev/kmsg 20")
}

func octal(n uint32) string { return strconv.FormatUint(uint64(n), 8) }

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
