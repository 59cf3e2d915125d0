package bundle

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// mounts translates the mounts, in their order, and says of each where in the configuration it is.
func (b *Bundle) mounts(o *Options) (all []namespace.Mount, places []int, err error) {
	for i := range b.Spec.Mounts {
		list, err := b.mount(&b.Spec.Mounts[i], index("mounts", i), o)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, list...)
		places = append(places, slices.Repeat([]int{i}, len(list))...)
	}
	return all, places, nil
}

func (b *Bundle) mount(s *specs.Mount, field string, o *Options) ([]namespace.Mount, error) {
	m := namespace.Mount{Type: s.Type, Source: s.Source, Target: path.Clean("/" + s.Destination)}
	if m.Target == "/" {
		return nil, wrong(field+".destination", "%q is not below the root", s.Destination)
	}
	options := slices.Clone(s.Options)
	mapped := len(s.UIDMappings)+len(s.GIDMappings) > 0
	options = slices.DeleteFunc(options, func(o string) bool {
		is := o == "idmap" || o == "ridmap"
		mapped = mapped || is
		return is
	})
	if err := m.SetOptions(options...); err != nil {
		return nil, &FieldError{Field: field + ".options", Err: err}
	}
	if mapped {
		if m.Type != "bind" {
			return nil, wrong(field+".uidMappings", "only a bind shows other owners")
		}
		m.IDMap = &namespace.IDMap{UIDs: mappings(s.UIDMappings), GIDs: mappings(s.GIDMappings)}
	}
	switch m.Type {
	case "":
		return nil, wrong(field+".type", "there is none")
	case "bind":
		if s.Source == "" {
			return nil, wrong(field+".source", "there is none")
		}
		m.Source, m.Data = b.below(s.Source), ""
		if _, err := os.Stat(m.Source); err != nil {
			return nil, &FieldError{Field: field + ".source", Err: err}
		}
	case "cgroup", "cgroup2":
		return b.cgroupMounts(m, o), nil
	case "dev", "nodes", "link":
		return nil, wrong(field+".type", "there is no file system %q", m.Type)
	case "tmpfs":
		b.keepMode(&m)
	}
	return []namespace.Mount{m}, nil
}

// ownTypes are the file systems that need no path of the host.
var ownTypes = []string{"bind", "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "nodes", "link", "ramfs", "bpf", "debugfs",
	"tracefs", "securityfs", "hugetlbfs", "fusectl", "binfmt_misc", "configfs", "pstore", "efivarfs", "selinuxfs", "nsfs"}

// needsHost says whether a mount's source or options name paths of the host.
func needsHost(mounts []namespace.Mount) bool {
	return slices.ContainsFunc(mounts, func(m namespace.Mount) bool { return !slices.Contains(ownTypes, m.Type) })
}

// keepMode gives a tmpfs the mode of the folder that it covers, unless the options say another one.
func (b *Bundle) keepMode(m *namespace.Mount) {
	if strings.Contains(","+m.Data, ",mode=") {
		return
	}
	root, err := os.OpenRoot(b.Rootfs())
	if err != nil {
		return
	}
	defer root.Close()
	if st, err := root.Stat(m.Target[1:]); err == nil && st.IsDir() {
		mode := uint32(st.Mode().Perm())
		for bit, flag := range map[uint32]os.FileMode{0o1000: os.ModeSticky, 0o2000: os.ModeSetgid, 0o4000: os.ModeSetuid} {
			if st.Mode()&flag != 0 {
				mode |= bit
			}
		}
		m.Data = strings.TrimPrefix(m.Data+",mode="+octal(mode), ",")
	}
}

func octal(n uint32) string {
	s := ""
	for ; n > 0; n >>= 3 {
		s = string(rune('0'+n&7)) + s
	}
	return "0" + s
}

// cgroupMounts show the control groups: one hierarchy, or a folder with many, each from the container's own group on.
func (b *Bundle) cgroupMounts(m namespace.Mount, o *Options) []namespace.Mount {
	fresh := b.HasNamespace(specs.CgroupNamespace)
	one := len(o.Hierarchies) == 1 && o.Hierarchies[0].Name == ""
	each := func(h cgroups.Hierarchy, target string) (namespace.Mount, bool) {
		s := m
		s.Target, s.Data = target, ""
		i := slices.IndexFunc(o.Groups, func(dir string) bool {
			return strings.HasPrefix(dir, filepath.Join("/sys/fs/cgroup", h.Name)+"/")
		})
		switch {
		case fresh:
			s.Type, s.Source, s.Data = h.Type, "cgroup", h.Options
			if i >= 0 { // the same mount, at less cost
				s.Source = o.Groups[i]
			}
		case i >= 0:
			s.Type, s.Source, s.Recursive = "bind", o.Groups[i], true
		default:
			return s, false
		}
		return s, true
	}
	if one {
		s, ok := each(o.Hierarchies[0], m.Target)
		if !ok {
			return nil
		}
		return []namespace.Mount{s}
	}
	folder := m
	folder.Type, folder.Source, folder.Data = "tmpfs", "tmpfs", "mode=755"
	all := []namespace.Mount{folder}
	for _, h := range o.Hierarchies {
		s, ok := each(h, path.Join(m.Target, h.Name))
		if !ok {
			continue
		}
		all = append(all, s)
		if names := strings.Split(h.Name, ","); len(names) > 1 { // each controller has its name, too
			for _, name := range names {
				all = append(all, namespace.Mount{Type: "link", Source: h.Name, Target: path.Join(m.Target, name)})
			}
		}
	}
	return all
}

// sysctlNames are the parameters of a new IPC namespace.
var sysctlNames = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
	"kernel.shm_rmid_forced",
}

// sysctls are parameters of the container's own namespaces only.
func (b *Bundle) sysctls() ([]namespace.Sysctl, error) {
	own := map[specs.LinuxNamespaceType]bool{}
	for _, n := range b.Spec.Linux.Namespaces {
		own[n.Type] = true
	}
	var all []namespace.Sysctl
	for name, value := range b.Spec.Linux.Sysctl {
		field := "linux.sysctl." + name
		dotted := strings.ReplaceAll(name, "/", ".")
		needs := specs.LinuxNamespaceType("")
		switch {
		case strings.HasPrefix(dotted, "net."):
			needs = specs.NetworkNamespace
		case slices.Contains(sysctlNames, dotted) || strings.HasPrefix(dotted, "fs.mqueue."):
			needs = specs.IPCNamespace
		case dotted == "kernel.domainname" || dotted == "kernel.hostname":
			needs = specs.UTSNamespace
		default:
			return nil, wrong(field, "it is not in a separate kernel namespace")
		}
		if !own[needs] {
			return nil, wrong(field, "it is not in a separate kernel namespace: there is none of the type %s", needs)
		}
		if dotted == "kernel.hostname" && b.Spec.Hostname != "" {
			return nil, wrong(field, "hostname is set too")
		}
		all = append(all, namespace.Sysctl{Name: name, Value: value})
	}
	slices.SortFunc(all, func(a, b namespace.Sysctl) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
