package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// gpuFile has the form of what "nvidia-ctk cdi generate" writes; %[1]s is the folder of its program.
const gpuFile = `---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
    - name: "0"
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
              hostPath: /dev/zero
    - name: all
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
              hostPath: /dev/zero
containerEdits:
    env:
        - NVIDIA_VISIBLE_DEVICES=void
    deviceNodes:
        - path: /dev/nvidiactl
          hostPath: /dev/null
    hooks:
        - hookName: createContainer
          path: %[1]s/nvidia-cdi-hook
          args:
            - nvidia-cdi-hook
            - create-symlinks
            - --link
            - libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so
            - --link
            - ../libnvidia-allocator.so.1::/usr/lib/x86_64-linux-gnu/gbm/nvidia-drm_gbm.so
          env:
            - NVIDIA_CTK_DEBUG=false
        - hookName: createContainer
          path: %[1]s/nvidia-cdi-hook
          args:
            - nvidia-cdi-hook
            - update-ldcache
            - --folder
            - /usr/lib/x86_64-linux-gnu
          env:
            - NVIDIA_CTK_DEBUG=false
    mounts:
        - hostPath: %[1]s/libcuda.so.1
          containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.1
          options:
            - ro
            - nosuid
            - nodev
            - rbind
            - rprivate
`

// gpuHook does what NVIDIA's program does: it finds the root by the configuration of the bundle that the state names, and changes it. It
// fails if the root is not mounted there, or if it sees the host's processes.
const gpuHook = `#!/bin/sh
set -e
PATH=/bin:/usr/bin
bundle=$(sed 's/.*"bundle":"\([^"]*\)".*/\1/')
root=$(sed 's/.*"root":{"path":"\([^"]*\)".*/\1/' "$bundle/config.json")
grep -q " $root " /proc/self/mountinfo
[ $$ -lt 30 ]
[ "$NVIDIA_CTK_DEBUG" = false ]
do=$1
shift
case $do in
create-symlinks)
	while [ $# -gt 0 ]; do
		link="$root${2##*::}"
		mkdir -p "${link%/*}"
		ln -sf "${2%%::*}" "$link"
		shift 2
	done ;;
update-ldcache) echo "cache of $2" >"$root/etc/ld.so.cache" ;;
*) exit 2 ;;
esac
`

// TestGPUsWithHooks: containers have devices whose file has hooks, as NVIDIA's have: in the foreground, in background, there after a restart too, and
// in user namespaces of their own.
func TestGPUsWithHooks(t *testing.T) {
	testenv.RequireCommand(t, "sh", "sed", "grep")
	e := newEngine(t)
	image := pullBusybox(t, e)
	testenv.ReapOrphans(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755)) // the root of a user namespace executes the program, too
	for name, text := range map[string]string{
		"nvidia.yaml": fmt.Sprintf(gpuFile, dir), "nvidia-cdi-hook": gpuHook, "libcuda.so.1": "library\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	const script = "cd /usr/lib/x86_64-linux-gnu; cat libcuda.so /etc/ld.so.cache; readlink gbm/nvidia-drm_gbm.so; stat -c %U libcuda.so.1 /etc/ld.so.cache; ls /dev/nvidia*"
	const want = "library\ncache of /usr/lib/x86_64-linux-gnu\n../libnvidia-allocator.so.1\nroot\nroot\n/dev/nvidia0\n/dev/nvidiactl\n"
	gpus, err := ParseGPUs("all")
	require.NoError(t, err)
	names, err := gpus.CDI()
	require.NoError(t, err)
	config := func(mode string) *Config {
		return &Config{Image: image, Command: []string{"sh", "-c", script}, Isolation: Isolation{CDIDevices: names, CDIDirs: []string{dir}, UserMode: mode}}
	}
	modes := []string{"", "auto"}
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	for _, mode := range modes {
		var out bytes.Buffer
		cfg := config(mode)
		cfg.AutoRemove = true
		_, err := e.Run(t.Context(), cfg, &StartOptions{Stdout: &out, Stderr: &out})
		require.NoError(t, err, out.String())
		require.Equal(t, want, out.String(), "user namespace %q", mode)
	}
	c, err := e.Create(t.Context(), config(""))
	require.NoError(t, err)
	for range 2 {
		again(t, e, c)
		code, err := e.WaitFor(t.Context(), c.ID)
		require.NoError(t, err)
		require.Zero(t, code)
		_, err = os.Lstat(e.bundlePath(c.ID))
		require.ErrorIs(t, err, os.ErrNotExist)
	}
}

// TestFileOfDevicesHasGone: a container whose devices nobody describes any more does not start, but is stopped and removed.
func TestFileOfDevicesHasGone(t *testing.T) {
	e := newEngine(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	require.NoError(t, os.WriteFile(file, []byte("cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{name: d, containerEdits: {env: [CDI=1]}}]\n"), 0o600))
	c := detached(t, e, &Config{Isolation: Isolation{CDIDevices: []string{"a.b/c=d"}, CDIDirs: []string{dir}}}, "sleep 60")
	require.NoError(t, os.Remove(file))
	r, err := e.Adopt(t.Context(), c.ID)
	require.NoError(t, err)
	require.NoError(t, r.Leave())
	require.NoError(t, e.Stop(t.Context(), c.ID, 0))
	_, err = e.Start(t.Context(), c.ID, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
}
