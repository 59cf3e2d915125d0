package engine

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/container/cdi"
)

// Isolation is what a [Config] says about namespaces, devices and security beyond capabilities and seccomp.
type Isolation struct {
	// PIDMode, IPCMode and UTSMode say whose namespaces the container has: "" and "private" its own, "host" the
	// host's. PIDMode may also be "container:" and the name or ID of a container that runs when this one starts, and that ends with the other.
	// IPCMode may also be "none" and "shareable", which are its own too; "none" has no /dev/shm, and a "shareable" one may be joined by others, with
	// its /dev/shm, as "container:" and its name or ID.
	PIDMode, IPCMode, UTSMode string `json:",omitempty"`
	// UserMode says in whose user namespace the container is: "" and "host" the host's; "auto", and "remap", which means the
	// same, one of its own. Its ids are the subordinate ones, as /etc/subuid and /etc/subgid have them, of the user "caisson",
	// or else "containers", or else the program's. The files of its root, volumes and binds show as if they were its own, and
	// are written as root's are who is not in one: that takes Linux ≥ 5.19 and a file system that can do it. It goes neither
	// with Privileged nor with the host's network or PID namespace. An ordinary user's containers are in a user namespace anyway, in
	// which the user is root: "" and "host". With "keep-id" the user has its own ids inside, or those of "keep-id:uid=1,gid=2", and
	// is the user of the container if nobody else is asked for; its subordinate ids are the others, root's among them. The image's
	// files are copied for such a container.
	UserMode string `json:",omitempty"`
	// Domainname is the NIS domain name.
	Domainname string `json:",omitempty"`
	// Devices are devices of the host, in addition to the standard ones.
	Devices []container.Device `json:",omitempty"`
	// CDIDevices are devices by name, "vendor.com/class=name", which the files of the folders CDIDirs describe; empty means
	// those of [cdi.Load].
	CDIDevices, CDIDirs []string `json:",omitempty"`
	// AppArmor is the profile; empty leaves that of the program. SELinux and MountLabel are the contexts of the process and of
	// the file systems that are made for it.
	AppArmor, SELinux, MountLabel string `json:",omitempty"`
	// ShowSystemPaths leaves out the masked and read-only paths of /proc and /sys.
	ShowSystemPaths bool `json:",omitempty"`
}

// hostName is the name that the container has: with the host's UTS namespace it cannot be chosen.
func (c *Container) hostName() error {
	if c.Config.UTSMode != "host" {
		return nil
	}
	if c.Config.Hostname != "" || c.Config.Domainname != "" {
		return invalid("conflicting options: hostname and the UTS mode")
	}
	var err error
	c.Hostname, err = os.Hostname()
	return err
}

// apply puts the isolation into the container.
func (i *Isolation) apply(c *container.Container) error {
	for _, m := range []struct {
		flag, mode string
		host       *bool
		own        []string
	}{
		{"PID", i.PIDMode, &c.Namespaces.PID.Host, []string{"", "private"}},
		{"IPC", i.IPCMode, &c.Namespaces.IPC.Host, []string{"", "private", "none", "shareable"}},
		{"UTS", i.UTSMode, &c.Namespaces.UTS.Host, []string{"", "private"}},
	} {
		switch {
		case m.mode == "host":
			*m.host = true
		case slices.Contains(m.own, m.mode):
		case m.flag != "UTS" && strings.HasPrefix(m.mode, "container:"): // the start joins it; who enters the container takes what it has
		default:
			return invalid("invalid %s mode: %s", m.flag, m.mode)
		}
	}
	if i.UTSMode == "host" {
		c.Hostname = ""
	}
	if i.IPCMode == "none" {
		// An empty folder that nothing can be put into is in the place of /dev/shm.
		c.Mounts = append(c.Mounts, container.Mount{Type: "tmpfs", Target: "/dev/shm", Data: "size=4k,mode=555",
			Flags: container.ReadOnly | container.NoSuid | container.NoDev | container.NoExec})
	}
	c.Domainname, c.Devices = i.Domainname, i.Devices
	if len(i.CDIDevices) > 0 {
		devices, err := cdi.Load(i.CDIDirs...)
		if err != nil {
			return err
		}
		if err := devices.Apply(c, i.CDIDevices...); err != nil {
			return err
		}
	}
	c.AppArmor, c.SELinux, c.MountLabel = i.AppArmor, i.SELinux, i.MountLabel
	if i.ShowSystemPaths {
		c.MaskedPaths, c.ReadOnlyPaths = []string{}, []string{}
	}
	return nil
}

// ParseDevice reads devices as docker run's --device gives them: "/dev/x", "/dev/x:/dev/y", "/dev/x:rw", "/dev/x:/dev/y:r". A
// folder stands for all devices below it, which must be some.
func ParseDevice(spec string) ([]container.Device, error) {
	parts := strings.Split(spec, ":")
	isMode := func(s string) bool { return s != "" && strings.Trim(s, "rwm") == "" }
	d := container.Device{Source: parts[0], Target: parts[0]}
	switch {
	case len(parts) == 1:
	case len(parts) == 2 && isMode(parts[1]):
		d.Permissions = parts[1]
	case len(parts) == 2:
		d.Target = parts[1]
	case len(parts) == 3 && isMode(parts[2]):
		d.Target, d.Permissions = parts[1], parts[2]
	default:
		return nil, invalid("invalid device specification: %s", spec)
	}
	if !path.IsAbs(d.Source) || !path.IsAbs(d.Target) {
		return nil, invalid("invalid device specification: %s: the paths must be absolute", spec)
	}
	d.Source, d.Target = path.Clean(d.Source), path.Clean(d.Target)
	st, err := os.Stat(d.Source)
	if err != nil {
		return nil, invalid("error gathering device information while adding custom device %q: %v", d.Source, err)
	}
	if !st.IsDir() {
		return []container.Device{d}, nil
	}
	var all []container.Device
	err = filepath.WalkDir(d.Source, func(name string, e os.DirEntry, err error) error {
		if err == nil && e.Type()&os.ModeDevice != 0 {
			rel := strings.TrimPrefix(name, d.Source)
			all = append(all, container.Device{Source: name, Target: d.Target + rel, Permissions: d.Permissions})
		}
		return err
	})
	if err == nil && len(all) == 0 {
		err = invalid("no device nodes are below %q", d.Source)
	}
	return all, err
}
