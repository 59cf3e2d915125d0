package container_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/container"
)

// ownAttacker puts a copy of the attacking program of its own into the container, so that its inode can be changed.
func ownAttacker(t *testing.T, c *container.Container) string {
	place := filepath.Join(c.Root.String(), "opt/attack")
	require.NoError(t, os.MkdirAll(filepath.Dir(place), 0o755))
	in, err := os.Open(filepath.Join(c.Root.String(), "bin/attack"))
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(place, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	return place
}

// inheritable gives the attacking program's file an inheritable capability: whoever has it in his inheritable set too gains
// it by execution.
func inheritable(t *testing.T, c *container.Container) {
	const version, effective, netRaw = 2 << 24, 1, 1 << unix.CAP_NET_RAW
	var attr []byte
	for _, word := range []uint32{version | effective, 0, netRaw, 0, 0} {
		attr = binary.LittleEndian.AppendUint32(attr, word)
	}
	require.NoError(t, unix.Setxattr(ownAttacker(t, c), "security.capability", attr, 0))
	c.User, c.NewPrivileges = "app", true
}

func escapeByInheritable(t *testing.T) {
	c := newContainer(t, "/opt/attack", "capabilities")
	inheritable(t, c)
	requireHeld(t, c)
}

func escapeByInheritableExec(t *testing.T) {
	c := newContainer(t, "trap")
	inheritable(t, c)
	ready(t, c)
	require.Equal(t, "held\n", output2(t, c.Command("/opt/attack", "capabilities")))
}

// escapeByGroups: a file shuts a group out. A member leaves that group by executing a set-group-ID file, if it was only his
// primary one and not among the supplementary ones.
func escapeByGroups(t *testing.T) {
	c := newContainer(t, "/opt/attack", "read", "/secret")
	place := ownAttacker(t, c)
	require.NoError(t, os.Chown(place, 0, 2222))
	require.NoError(t, os.Chmod(place, 0o755|os.ModeSetgid))
	secret := filepath.Join(c.Root.String(), "secret")
	require.NoError(t, os.WriteFile(secret, nil, 0o604))
	require.NoError(t, os.Chown(secret, 0, 1000))
	c.User, c.NewPrivileges = "app", true
	requireHeld(t, c)
	for _, user := range []string{"1000:1000", "app:1000", "77:1000"} {
		c := newContainerIn(t, c, c.Args...)
		c.User, c.NewPrivileges = user, true
		requireHeld(t, c)
	}
	other := newContainerIn(t, c, c.Args...)
	other.User = "77:88"
	out, err := other.Output(t.Context())
	require.Error(t, err, "the file can be read by others")
	require.Equal(t, "escaped: read /secret\n", string(out))
}

// escapeByLargeUser: an id is cut down to 32 bits, and is that of root then.
func escapeByLargeUser(t *testing.T) {
	template := newContainer(t)
	f, err := os.OpenFile(filepath.Join(template.Root.String(), "etc/passwd"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = fmt.Fprint(f, "large:x:4294967296:0::/:\nnegative:x:-1:0::/:\ngroup:x:5:4294967296::/:\nodd:x:0x0:0::/:\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for _, user := range []string{
		"4294967295", "4294967296", "-1", "18446744073709551616", "1:4294967295", "1:4294967296", "1:-1", "large", "negative", "group", "odd",
		"+0", "0x0", "1.", " 0", "4294967296:1",
	} {
		c := newContainerIn(t, template, "id")
		c.User = user
		var start *container.StartError
		require.ErrorAs(t, c.Run(t.Context()), &start, user)
	}
	for _, group := range []string{"4294967295", "4294967296", "-1"} {
		c := newContainerIn(t, template, "id")
		c.User, c.Groups = "1", []string{group}
		require.Error(t, c.Run(t.Context()), group)
	}
	for _, user := range []string{"2147483648", "4294967294", "2147483647"} { // they are what they say, or refused
		c := newContainerIn(t, template, "id")
		c.User = user
		if out, err := c.Output(t.Context()); err == nil {
			require.Contains(t, string(out), user+" 0 [")
		}
	}
}

// escapeByReleaseAgent: control groups are mounted in a user namespace of the attacker's own, and the program is set that the
// kernel executes on the host when a group gets empty.
func escapeByReleaseAgent(t *testing.T) {
	requireHeld(t, attacker(t, "cgroup"))
	c := attacker(t, "cgroup", "release_agent")
	c.NoSeccomp = true
	requireHeld(t, c)
}

// escapeByCgroups: the control groups that the container sees can be written to.
func escapeByCgroups(t *testing.T) {
	for _, host := range []bool{false, true} {
		c := attacker(t, "mount")
		c.Namespaces.Cgroup.Host = host
		requireHeld(t, c)
	}
	c := attacker(t, "mount")
	c.UIDMappings, c.GIDMappings = idMaps, idMaps
	requireHeld(t, c)
}

// escapeByCryptoSocket: the kernel's cryptography (AF_ALG), whose holes let files be changed in the page cache, and what runs
// beside the machine (AF_VSOCK), by each ABI.
func escapeByCryptoSocket(t *testing.T) { requireHeld(t, attacker(t, "crypto")) }
