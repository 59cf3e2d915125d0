package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/caisson-engine/caisson/internal/ocistate"
)

// mountsFile holds how many mounts were on the root of a container without a mount namespace before it was made.
const mountsFile = "mounts"

// noteMounts notes what is mounted on the root already, if the container's mounts are going to be among the host's.
func (k *container) noteMounts() error {
	if k.ownMounts() {
		return nil
	}
	n, err := mountsOn(k.Config.Rootfs)
	if err != nil {
		return err
	}
	return k.folder.WriteFile(mountsFile, []byte(strconv.Itoa(n)))
}

// ownMounts says whether the container's mounts are not among the host's.
func (k *container) ownMounts() bool {
	return slices.ContainsFunc(k.Config.Namespaces, func(n ocistate.Namespace) bool { return n.Type == "NEWNS" })
}

// removeMounts removes a container's mounts from among the host's, where they are if it has no mount namespace.
func (k *container) removeMounts() {
	b, err := os.ReadFile(k.folder.Path(mountsFile))
	if err != nil {
		return
	}
	before, err := strconv.Atoi(string(b))
	if err != nil {
		return
	}
	for {
		n, err := mountsOn(k.Config.Rootfs)
		if err != nil || n <= before || syscall.Unmount(k.Config.Rootfs, syscall.MNT_DETACH) != nil {
			return
		}
	}
}

// mountsOn is how many mounts lie on a folder, one on the other.
func mountsOn(dir string) (n int, err error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	escaped := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(dir)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == escaped {
			n++
		}
	}
	return n, nil
}
