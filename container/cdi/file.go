package cdi

import "os"

// A File is what a file of the Container Device Interface says: a class of devices of a vendor.
type File struct {
	// Version is that of the specification, "0.6.0". A field that is newer is an error.
	Version string `json:"cdiVersion" yaml:"cdiVersion"`
	// Kind is the vendor and the class: "vendor.com/gpu".
	Kind string `json:"kind" yaml:"kind"`
	// Annotations are for whoever reads them; nothing is done with them. From 0.6.0.
	Annotations map[string]string `json:"annotations,omitempty" yaml:"annotations,omitempty"`
	// Devices are at least one, no two of a name.
	Devices []Device `json:"devices" yaml:"devices"`
	// Edits are made for a container that is given any of the devices, once, before those of the device.
	Edits Edits `json:"containerEdits,omitzero" yaml:"containerEdits,omitempty"`
}

// A Device is one that a container can be given.
type Device struct {
	// Name is what follows the kind and "=" when somebody asks for it.
	Name        string            `json:"name" yaml:"name"`
	Annotations map[string]string `json:"annotations,omitempty" yaml:"annotations,omitempty"` // from 0.6.0
	Edits       Edits             `json:"containerEdits" yaml:"containerEdits"`
}

// Edits are what changes in a container.
type Edits struct {
	Env            []string    `json:"env,omitempty" yaml:"env,omitempty"` // "name=value" each
	Nodes          []Node      `json:"deviceNodes,omitempty" yaml:"deviceNodes,omitempty"`
	NetDevices     []NetDevice `json:"netDevices,omitempty" yaml:"netDevices,omitempty"` // from 1.1.0
	Hooks          []Hook      `json:"hooks,omitempty" yaml:"hooks,omitempty"`
	Mounts         []Mount     `json:"mounts,omitempty" yaml:"mounts,omitempty"`
	IntelRDT       *IntelRDT   `json:"intelRdt,omitempty" yaml:"intelRdt,omitempty"`             // from 0.7.0
	AdditionalGIDs []uint32    `json:"additionalGids,omitempty" yaml:"additionalGids,omitempty"` // of which 0 is ignored; from 0.7.0
}

// A Node is a device node, or a named pipe.
type Node struct {
	// Path is where it is in the container, below /dev.
	Path string `json:"path" yaml:"path"`
	// HostPath is where it is on the host. Empty means Path. From 0.5.0.
	HostPath string `json:"hostPath,omitempty" yaml:"hostPath,omitempty"`
	// Type is "b", "c", "u", which is the same, or "p". Without it, or without a number, the host's node is looked at.
	Type  string `json:"type,omitempty" yaml:"type,omitempty"`
	Major int64  `json:"major,omitempty" yaml:"major,omitempty"`
	Minor int64  `json:"minor,omitempty" yaml:"minor,omitempty"`
	// FileMode are the permission bits. Nil means those of the host's node, if there is one, or else 0666.
	FileMode *os.FileMode `json:"fileMode,omitempty" yaml:"fileMode,omitempty"`
	// Permissions are what the control group allows: some of "r", "w" and "m". Empty means "rwm", and "none" none of them.
	Permissions string  `json:"permissions,omitempty" yaml:"permissions,omitempty"`
	UID         *uint32 `json:"uid,omitempty" yaml:"uid,omitempty"` // the owner in the container; nil is 0
	GID         *uint32 `json:"gid,omitempty" yaml:"gid,omitempty"`
}

// A Mount is one of the host's files or folders, or of a new file system.
type Mount struct {
	HostPath      string `json:"hostPath" yaml:"hostPath"`
	ContainerPath string `json:"containerPath" yaml:"containerPath"`
	// Options are those of mount(8) and of the OCI runtime specification.
	Options []string `json:"options,omitempty" yaml:"options,omitempty"`
	Type    string   `json:"type,omitempty" yaml:"type,omitempty"` // empty means a bind; from 0.4.0
}

// A Hook is a program of the host that is executed at a point of the container's life.
type Hook struct {
	// HookName is that point: "prestart", "createRuntime", "createContainer", "startContainer", "poststart" or "poststop".
	HookName string   `json:"hookName" yaml:"hookName"`
	Path     string   `json:"path" yaml:"path"`
	Args     []string `json:"args,omitempty" yaml:"args,omitempty"`
	Env      []string `json:"env,omitempty" yaml:"env,omitempty"`
	Timeout  *int     `json:"timeout,omitempty" yaml:"timeout,omitempty"` // in seconds, above 0; nil is none
}

// A NetDevice is a network device of the host that moves into the container.
type NetDevice struct {
	HostInterfaceName string `json:"hostInterfaceName" yaml:"hostInterfaceName"`
	Name              string `json:"name" yaml:"name"` // that it has in the container
}

// IntelRDT are a share of caches and of memory bandwidth.
type IntelRDT struct {
	ClosID           string   `json:"closID,omitempty" yaml:"closID,omitempty"`
	L3CacheSchema    string   `json:"l3CacheSchema,omitempty" yaml:"l3CacheSchema,omitempty"`
	MemBwSchema      string   `json:"memBwSchema,omitempty" yaml:"memBwSchema,omitempty"`
	Schemata         []string `json:"schemata,omitempty" yaml:"schemata,omitempty"`                 // from 1.1.0
	EnableMonitoring bool     `json:"enableMonitoring,omitempty" yaml:"enableMonitoring,omitempty"` // from 1.1.0
}

// edits calls f with the edits of the file and of its devices, and with the path of each, until there is an error.
func (f *File) edits(call func(field string, e *Edits) error) error {
	if err := call("containerEdits", &f.Edits); err != nil {
		return err
	}
	for i := range f.Devices {
		if err := call(index("devices", i)+".containerEdits", &f.Devices[i].Edits); err != nil {
			return err
		}
	}
	return nil
}
