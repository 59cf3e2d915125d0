package cdi

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/internal/word"
)

func index(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// check finds what the specification does not allow.
func (f *File) check() error {
	version, ok := minor(f.Version)
	switch {
	case !ok:
		return fmt.Errorf("cdiVersion: %q is not from 0.3.0 to 1.1.0: %w", f.Version, errors.ErrUnsupported)
	case !isKind(f.Kind):
		return fmt.Errorf("kind: %q is not of the form vendor.com/class", f.Kind)
	case len(f.Devices) == 0:
		return errors.New("devices: there is none")
	}
	seen := make(map[string]bool)
	for i := range f.Devices {
		switch name := f.Devices[i].Name; {
		case !isName(name):
			return fmt.Errorf("devices[%d].name: %q is no name of a device", i, name)
		case seen[name]:
			return fmt.Errorf("devices[%d].name: %s is described twice", i, name)
		default:
			seen[name] = true
		}
	}
	if err := f.edits(func(field string, e *Edits) error { return e.check(field + ".") }); err != nil {
		return err
	}
	if field, since := f.newest(); since > version {
		return fmt.Errorf("%s: it came with version %s, and cdiVersion is %s", field, versions[since], f.Version)
	}
	return nil
}

// versions are those that are known, without what follows the second point.
var versions = []string{"0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "1.0", "1.1"}

// minor returns the place of a version among those that are known.
func minor(version string) (int, bool) {
	version = strings.TrimPrefix(version, "v")
	i := strings.LastIndexByte(version, '.')
	if i < 0 || !word.Number(version[i+1:]) {
		return 0, false
	}
	n := slices.Index(versions, version[:i])
	return n, n >= 0
}

// newest returns the first field that needs the newest version, and that one's place.
func (f *File) newest() (field string, since int) {
	has := func(there bool, name, version string) {
		if n := slices.Index(versions, version); there && n > since {
			field, since = name, n
		}
	}
	_, class, _ := strings.Cut(f.Kind, "/")
	has(strings.Contains(class, "."), "kind", "0.6")
	has(len(f.Annotations) > 0, "annotations", "0.6")
	for i := range f.Devices {
		d := &f.Devices[i]
		has(word.Number(d.Name[:1]), index("devices", i)+".name", "0.5")
		has(len(d.Annotations) > 0, index("devices", i)+".annotations", "0.6")
	}
	_ = f.edits(func(in string, e *Edits) error {
		for i := range e.Mounts {
			has(e.Mounts[i].Type != "", in+"."+index("mounts", i)+".type", "0.4")
		}
		for i := range e.Nodes {
			has(e.Nodes[i].HostPath != "", in+"."+index("deviceNodes", i)+".hostPath", "0.5")
		}
		has(len(e.AdditionalGIDs) > 0, in+".additionalGids", "0.7")
		has(e.IntelRDT != nil, in+".intelRdt", "0.7")
		has(e.IntelRDT != nil && (e.IntelRDT.Schemata != nil || e.IntelRDT.EnableMonitoring), in+".intelRdt", "1.1")
		has(len(e.NetDevices) > 0, in+".netDevices", "1.1")
		return nil
	})
	return field, since
}

// isKind says whether s is a vendor, a slash and a class.
func isKind(s string) bool {
	vendor, class, _ := strings.Cut(s, "/")
	return len(vendor) <= 253 && len(class) <= 63 &&
		word.Is(vendor, "", "_.-") && !word.Number(vendor[:1]) && word.Is(class, "", "_.-") && !word.Number(class[:1])
}

func isName(s string) bool { return word.Is(s, "", "_.:-") }

// IsName tells whether s has the form of a device's name, "vendor.com/class=name".
func IsName(s string) bool {
	kind, device, ok := strings.Cut(s, "=")
	return ok && isKind(kind) && isName(device)
}

var hookNames = []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}

// check looks at edits, whose fields' names begin with in.
func (e *Edits) check(in string) error {
	for i, v := range e.Env {
		if strings.IndexByte(v, '=') < 1 || strings.IndexByte(v, 0) >= 0 {
			return fmt.Errorf("%s: %q is not of the form name=value", in+index("env", i), v)
		}
	}
	for i := range e.Nodes {
		if err := e.Nodes[i].check(in + index("deviceNodes", i)); err != nil {
			return err
		}
	}
	for i := range e.Mounts {
		m := &e.Mounts[i]
		switch {
		case m.HostPath == "":
			return fmt.Errorf("%s.hostPath: there is none", in+index("mounts", i))
		case !path.IsAbs(m.ContainerPath):
			return fmt.Errorf("%s.containerPath: %q is not an absolute path", in+index("mounts", i), m.ContainerPath)
		}
	}
	for i := range e.Hooks {
		h := &e.Hooks[i]
		field := in + index("hooks", i)
		switch {
		case !slices.Contains(hookNames, h.HookName):
			return fmt.Errorf("%s.hookName: %q is none of %s", field, h.HookName, strings.Join(hookNames, ", "))
		case !path.IsAbs(h.Path):
			return fmt.Errorf("%s.path: %q is not an absolute path", field, h.Path)
		case h.Timeout != nil && *h.Timeout <= 0:
			return fmt.Errorf("%s.timeout: %d is not a number of seconds above 0", field, *h.Timeout)
		}
		for k, v := range h.Env {
			if strings.IndexByte(v, '=') < 1 {
				return fmt.Errorf("%s: %q is not of the form name=value", field+"."+index("env", k), v)
			}
		}
	}
	if r := e.IntelRDT; r != nil && r.ClosID != "/" && (len(r.ClosID) >= 4096 || r.ClosID == "." || r.ClosID == ".." || strings.ContainsAny(r.ClosID, "/\n")) {
		return fmt.Errorf("%sintelRdt.closID: %.100q is no name of a file", in, r.ClosID)
	}
	return e.checkNetDevices(in)
}

func (e *Edits) checkNetDevices(in string) error {
	hosts, names := make(map[string]bool), make(map[string]bool)
	for i, d := range e.NetDevices {
		for _, n := range []struct {
			field, name string
			seen        map[string]bool
		}{{"hostInterfaceName", d.HostInterfaceName, hosts}, {"name", d.Name, names}} {
			if n.name == "" || n.seen[n.name] {
				return fmt.Errorf("%s.%s: %q is empty, or there twice", in+index("netDevices", i), n.field, n.name)
			}
			n.seen[n.name] = true
		}
	}
	return nil
}

func (n *Node) check(field string) error {
	switch {
	case !path.IsAbs(n.Path):
		return fmt.Errorf("%s.path: %q is not an absolute path", field, n.Path)
	case n.HostPath != "" && !path.IsAbs(n.HostPath):
		return fmt.Errorf("%s.hostPath: %q is not an absolute path", field, n.HostPath)
	case !slices.Contains([]string{"", "b", "c", "u", "p"}, n.Type):
		return fmt.Errorf("%s.type: %q is none of b, c, u and p", field, n.Type)
	case n.Permissions != noPermissions && strings.Trim(n.Permissions, "rwm") != "":
		return fmt.Errorf("%s.permissions: %q has other letters than r, w and m", field, n.Permissions)
	}
	return nil
}

// noPermissions are those of a node that the control group does not let the container open.
const noPermissions = "none"
