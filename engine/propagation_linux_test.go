package engine

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestBindsOfMounts mounts on the host below a folder that a container has by binds of all kinds, and the other way round. What is
// mounted there before is read-only with the bind, or left out of that, or not taken along.
func TestBindsOfMounts(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	testenv.ReapOrphans(t)
	if !testenv.Again(t, func(cmd *exec.Cmd) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		return cmd.Run()
	}) {
		return
	}
	host := t.TempDir()
	mount := func(dir, file string) {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, unix.Mount("test", dir, "tmpfs", 0, ""))
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o644))
	}
	mount(host, "top")
	defer func() { require.NoError(t, unix.Unmount(host, unix.MNT_DETACH)) }()
	require.NoError(t, unix.Mount("", host, "", unix.MS_SHARED, ""))
	mount(filepath.Join(host, "below"), "file")
	require.NoError(t, os.Mkdir(filepath.Join(host, "later"), 0o755))

	e := newEngine(t)
	kinds := []string{"private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}
	cfg := &Config{Image: pullBusybox(t, e), Privileged: true}
	for _, kind := range kinds {
		require.NoError(t, os.Mkdir(filepath.Join(host, "in-"+kind), 0o755))
		cfg.Mounts = append(cfg.Mounts, Mount{Type: "bind", Source: host, Target: "/" + kind, Propagation: kind})
	}
	for target, recursive := range map[string]string{"/ro": "", "/above": "writable", "/alone": "disabled"} {
		cfg.Mounts = append(cfg.Mounts, Mount{Type: "bind", Source: host, Target: target, ReadOnly: true, Recursive: recursive})
	}
	cfg.Command = []string{"sh", "-c", `mkdir /to; echo ready; read go
		for k in ` + strings.Join(kinds, " ") + `; do
			[ -e /$k/below/file ] || echo $k lacks what is below
			[ -e /$k/later/seen ] && echo $k sees
			mount -t tmpfs inside /$k/in-$k || echo $k cannot be mounted in
			mount --bind /$k /to 2>/dev/null && umount /to && echo $k can be bound
		done
		for m in ro above alone; do
			for f in $m/x $m/below/x; do touch /$f 2>/dev/null && echo $f written; done
			[ -e /$m/below/file ] || echo $m is alone
		done
		echo end; read go`}
	c, err := e.Create(t.Context(), cfg)
	require.NoError(t, err)
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	run, err := e.Start(t.Context(), c.ID, &StartOptions{Stdin: stdin, Stdout: stdout, Stderr: stdout})
	require.NoError(t, err)
	said := bufio.NewScanner(out)
	require.True(t, said.Scan())
	require.Equal(t, "ready", said.Text())
	mount(filepath.Join(host, "later"), "seen")
	_, err = io.WriteString(in, "\n")
	require.NoError(t, err)
	var lines []string
	for said.Scan() && said.Text() != "end" {
		lines = append(lines, said.Text())
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NoError(t, in.Close())
	require.Error(t, run.Wait(t.Context())) // of the second read
	require.NoError(t, stdout.Close())
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))

	var want []string
	for _, kind := range kinds {
		slave, shared := strings.HasSuffix(kind, "slave"), strings.HasSuffix(kind, "shared")
		if slave || shared {
			want = append(want, kind+" sees")
		}
		if !strings.HasSuffix(kind, "unbindable") {
			want = append(want, kind+" can be bound")
		}
		require.Equal(t, shared, strings.Contains(string(table), " "+filepath.Join(host, "in-"+kind)+" "), kind)
	}
	want = append(want, "above/below/x written", "alone is alone")
	require.Equal(t, want, lines)
}
