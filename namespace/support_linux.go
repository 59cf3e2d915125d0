package namespace

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/caisson-engine/caisson/internal/kernel"
	"golang.org/x/sys/unix"
)

// Supported looks at what the machine lets the program do, by trying. It takes some processes and milliseconds.
func Supported() []Support {
	all := []Support{starts(), userNamespaces(), rangesOfIDs()}
	add := func(feature string, reason error, fix string) {
		s := Support{Feature: feature, Available: reason == nil}
		if reason != nil {
			s.Reason, s.Fix = reason.Error(), fix
		}
		all = append(all, s)
	}
	const asRoot = "run the program as root"
	idmapped := kernel.MountSetattr.Err()
	if idmapped == nil && !privileged() {
		idmapped = fmt.Errorf("mapping the owners of a mount takes CAP_SYS_ADMIN: %w", unix.EPERM)
	}
	add("idmapped mounts", idmapped, asRoot+" on Linux 5.12 or newer")
	_, err := os.Stat("/proc/self/ns/time")
	add("time namespaces", err, "a kernel with CONFIG_TIME_NS, Linux 5.6 or newer")
	fix, err := overlays()
	add("overlay", err, fix)
	return all
}

// knobs are the files by which a machine forbids user namespaces.
var knobs = []struct{ file, forbids, fix string }{
	{"/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, " +
		"or an AppArmor profile of the program with the rule userns"},
}

func userNamespaces() Support {
	s := Support{Feature: "user namespaces"}
	own := []IDMapping{{HostID: uint32(unix.Geteuid()), Size: 1}}
	group := []IDMapping{{HostID: uint32(unix.Getegid()), Size: 1}}
	ns, err := NewUserNamespace(own, group)
	if err == nil {
		_ = ns.Close()
		s.Available = true
		return s
	}
	s.Reason = err.Error()
	var fixes []string
	for _, k := range knobs {
		if b, err := os.ReadFile(k.file); err == nil && strings.TrimSpace(string(b)) == k.forbids {
			s.Reason += "; " + k.file + " is " + k.forbids
			fixes = append(fixes, k.fix)
		}
	}
	if filtered() {
		fixes = append(fixes, fixFilter)
	}
	s.Fix = strings.Join(fixes, "; ")
	return s
}

// rangesOfIDs is whether a container can have more users than its root.
func rangesOfIDs() Support {
	s := Support{Feature: "ranges of ids", Available: true}
	if unix.Geteuid() == 0 {
		return s
	}
	if err := mapsByCommand(); err != nil {
		return Support{Feature: s.Feature, Reason: err.Error(), Fix: "apt-get install uidmap, or your distribution's package of it"}
	}
	name := fmt.Sprint(unix.Geteuid())
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		if _, err := subordinate(file, name, 1); err != nil {
			return Support{Feature: s.Feature, Reason: err.Error(), Fix: "as root: usermod --add-subuids 100000-165535 --add-subgids " +
				"100000-165535 " + name}
		}
	}
	return s
}

// overlays says what keeps the program from mounting overlays, and what would help.
func overlays() (fix string, err error) {
	const module = "a kernel with CONFIG_OVERLAY_FS, Linux 5.11 or newer; modprobe overlay"
	if privileged() {
		fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
		if err == nil {
			_ = unix.Close(fd)
		}
		return module, os.NewSyscallError("fsopen overlay", err)
	}
	d, err := NewDeputy(context.Background(), nil, nil)
	if err != nil {
		return "see user namespaces, or run the program as root", fmt.Errorf("an ordinary user mounts layers in a user namespace: %w", err)
	}
	defer d.Close()
	fs, err := d.Call(unix.SYS_FSOPEN, "overlay", 0)
	if err != nil {
		return module, os.NewSyscallError("fsopen overlay", err)
	}
	const setFlag, setString, create = 0, 1, 6 // FSCONFIG_
	// A single folder below and none above is no overlay: that error shows that all before was right. Linux before 5.11 does
	// not get there.
	if _, err = d.Call(unix.SYS_FSCONFIG, fs, setString, "lowerdir", "/", 0); err == nil {
		_, err = d.Call(unix.SYS_FSCONFIG, fs, setFlag, "userxattr", 0, 0)
	}
	if err == nil {
		if _, err = d.Call(unix.SYS_FSCONFIG, fs, create, 0, 0, 0); err == unix.EINVAL {
			err = nil
		}
	}
	return module, os.NewSyscallError("overlay in a user namespace", err)
}
