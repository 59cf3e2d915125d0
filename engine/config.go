package engine

import (
	"net/netip"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/network"
	"github.com/caisson-engine/caisson/volume"
)

// A Config says what container to make. Image is required; the zero value of every other field is Docker's default.
// What the image's own configuration says holds where a field is empty.
type Config struct {
	// Image is the image's name, digest or ID. It must be in the store: see [Engine.Pull].
	Image string
	// Platform, such as "linux/arm64", chooses among the platforms of the image that are in the store. Empty means the
	// machine's, or else whichever there is. If it is set and the image is there for others only, that is [NotFound].
	Platform string `json:",omitempty"`
	// Name is the container's name. Empty means a generated one. Letters, digits, "_", "." and "-", the first a letter
	// or digit; two characters at least.
	Name string `json:",omitempty"`
	// Labels are kept with the container, besides those of the image.
	Labels map[string]string `json:",omitempty"`
	// Annotations are kept with the container, too. Nothing acts on them.
	Annotations map[string]string `json:",omitempty"`
	// AutoRemove removes the container, and the volumes that were made for it, when it has ended.
	AutoRemove bool `json:",omitempty"`
	// RestartPolicy says when it is started again. It cannot be combined with AutoRemove.
	RestartPolicy RestartPolicy `json:",omitzero"`

	// Entrypoint takes the place of the image's, and the image's Cmd is not used then. [""] means none. Nil is the image's.
	Entrypoint []string `json:",omitempty"`
	// Command takes the place of the image's Cmd.
	Command []string `json:",omitempty"`
	// Env are variables "name=value", added to those of the image or in place of them. A name alone takes the image's away.
	Env []string `json:",omitempty"`
	// Dir is the working directory, an absolute path. It is made if it is missing.
	Dir string `json:",omitempty"`
	// User is "name", "uid", "name:group" or "uid:gid". Groups are further groups.
	User   string   `json:",omitempty"`
	Groups []string `json:",omitempty"`
	// TTY gives the command a terminal.
	TTY bool `json:",omitempty"`
	// Init runs an init that passes signals on to the command and reaps processes.
	Init bool `json:",omitempty"`
	// OpenStdin keeps the command's standard input open when it is started with StartOptions.Detach.
	OpenStdin bool `json:",omitempty"`
	// StdinOnce says that whoever attaches first is to end the command's standard input with the end of its own.
	StdinOnce bool `json:",omitempty"`
	// StopSignal is a name ("SIGINT", "int") or number. Empty means the image's, else SIGTERM.
	StopSignal string `json:",omitempty"`
	// StopTimeout is for how many seconds who stops it is to wait before it is killed, if they choose none: -1 for ever. Nil means
	// [StopTimeout]. [Engine.Stop] takes what it is given.
	StopTimeout *int `json:",omitempty"`
	// Healthcheck says how to ask whether the container is well: see [Health]. What it leaves empty is the image's; nil is the image's whole.
	Healthcheck *image.Healthcheck `json:",omitempty"`

	// LogDriver is "json-file" or "local", Docker's names, or empty: they are one here, a file in a form of its own. LogOptions bound it
	// when the container is started with StartOptions.Detach: "max-size" ("10m") times "max-file" is what the log takes at most, but for
	// 128 KiB; by default that is 32 MiB.
	LogDriver  string            `json:",omitempty"`
	LogOptions map[string]string `json:",omitempty"`

	// Hostname in the container. Empty means the first twelve digits of its ID, or the host's name if Network is "host".
	Hostname string `json:",omitempty"`
	// Network is "none" (loopback only), "host", "container:" and the name or ID of a running container, or the name of
	// a network. Empty means "bridge", a network that is made when it is first needed.
	Network string `json:",omitempty"`
	// Networks are what the container is connected to, in place of the network that Network names, with the settings of
	// each.
	Networks []Connection `json:",omitempty"`
	// Links are containers that this one calls by another name besides theirs, "container:alias", or by theirs, "container": see
	// [Connection].Links. They must be there, and hold on all networks that both are on. On the network "bridge" the command is told of those
	// that run by its environment, as Docker tells it: ALIAS_PORT and so on.
	Links []string `json:",omitempty"`
	// Ports are published on the host, by the first of the networks that publishes any: no internal one. See [network.ParsePorts].
	Ports []network.Port `json:",omitempty"`
	// Expose are ports, "80" or "53/udp", that PublishAll publishes besides those that the image exposes, on free ports of
	// the host.
	Expose     []string `json:",omitempty"`
	PublishAll bool     `json:",omitempty"`
	// DNS are the servers that answer for names that are no container's. Nil means the host's. DNSSearch are the domains
	// that names are looked up in, "." alone for none; nil means the host's. DNSOptions are those of resolv.conf.
	DNS                   []netip.Addr `json:",omitempty"`
	DNSSearch, DNSOptions []string     `json:",omitempty"`
	// ExtraHosts are lines of /etc/hosts, "name:address". The address "host-gateway" stands for the host's: the gateway of the network that
	// publishes Ports.
	ExtraHosts []string `json:",omitempty"`
	// Egress, if it is not nil, is what the container may connect to by all its networks: see [network.Egress]. EgressLog is the path
	// of a file to which a line of JSON, a [network.Attempt], is appended for each thing that it tried. It is made if need be.
	Egress    *network.Egress `json:",omitempty"`
	EgressLog string          `json:",omitempty"`
	// Mounts are binds, volumes and tmpfs.
	Mounts []Mount `json:",omitempty"`
	// VolumesFrom are containers, by name or id, whose binds and volumes this one gets too, at targets that are not taken; with ":ro" behind,
	// read-only.
	VolumesFrom []string `json:",omitempty"`
	// ReadOnlyRoot makes the root file system read-only.
	ReadOnlyRoot bool `json:",omitempty"`
	// ShmSize is the size of /dev/shm in bytes. Zero means 64 MiB.
	ShmSize int64 `json:",omitempty"`

	// Privileged, CapAdd, CapDrop are those of [container.Container].
	Privileged bool     `json:",omitempty"`
	CapAdd     []string `json:",omitempty"`
	CapDrop    []string `json:",omitempty"`
	// NoNewPrivileges keeps the command from gaining privileges by set-user-ID files. Off, as with Docker.
	NoNewPrivileges bool `json:",omitempty"`
	// Seccomp is the system call filter. Nil means Docker's default profile. NoSeccomp leaves the filter out.
	Seccomp   *specs.LinuxSeccomp `json:",omitempty"`
	NoSeccomp bool                `json:",omitempty"`
	// Isolation has the namespaces, devices and security labels.
	Isolation
	// Ulimits bound resources of the processes.
	Ulimits []Ulimit `json:",omitempty"`
	// Sysctls are kernel parameters of the container's own namespaces.
	Sysctls map[string]string `json:",omitempty"`

	// The limits are those of [container.Container], by the same names. Bytes; zero is no limit.
	Memory, MemorySwap, MemoryReservation int64   `json:",omitempty"`
	CPUs                                  float64 `json:",omitempty"`
	CPUShares                             uint64  `json:",omitempty"`
	CpusetCPUs, CpusetMems                string  `json:",omitempty"`
	PidsLimit                             int64   `json:",omitempty"`
	OOMScoreAdj                           *int    `json:",omitempty"`
	// Resources are further limits, that of [container.Container].
	Resources *cgroups.Resources `json:",omitempty"`
	// CgroupParent is the control group that the container's is made in: see [Options].CgroupParent, which holds if it is
	// empty.
	CgroupParent string `json:",omitempty"`
	// CgroupManager is who makes the control group: see [Options].CgroupManager, which holds if it is empty.
	CgroupManager string `json:",omitempty"`
	// CgroupNamespace is "private", which "" stands for, or "host".
	CgroupNamespace string `json:",omitempty"`
}

// A Ulimit bounds a resource: Name is as in Docker's --ulimit ("nofile"). -1 is no limit.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// A Mount is what a container sees at Target besides its root file system.
type Mount struct {
	// Type is "bind", "volume", "tmpfs", or "image": the file system of an image, read-only.
	Type string
	// Source is an absolute path of the host for a bind, a volume's name, which when it is empty is a new, anonymous volume,
	// or an image's name.
	Source string `json:",omitempty"`
	// Subpath is the path of a folder or file in a volume or an image, which is mounted in place of the whole. It must be
	// there. Symbolic links in it do not lead out. Of an image it takes Linux ≥ 6.15.
	Subpath string `json:",omitempty"`
	// ImageID is the image that Source named when the container was made. It is not to be set.
	ImageID digest.Digest `json:",omitempty"`
	// Target is an absolute path in the container.
	Target string
	// ReadOnly mounts it, and what is mounted below it, read-only.
	ReadOnly bool `json:",omitempty"`
	// MakeSource makes a missing Source of a bind, as a folder. Without it that is an error.
	MakeSource bool `json:",omitempty"`
	// Propagation of a bind: "rprivate" (the default), "rslave", "rshared" or "runbindable"; without the "r" they mean the same.
	Propagation string `json:",omitempty"`
	// Recursive says what holds for the mounts below a bind's source: "" and "enabled" take them along, and ReadOnly holds for
	// them; "writable" leaves them out of ReadOnly; "disabled" does not take them along. "readonly" is as "enabled".
	Recursive string `json:",omitempty"`
	// Relabel gives a bind's files, or a volume's, for good and all that are below, the SELinux context of [Isolation].MountLabel at each
	// start: "Z", or "z", with which all containers may use them. Without a MountLabel it means nothing. Folders that the host's programs
	// need are refused: /, /etc, /usr, /home and such.
	Relabel string `json:",omitempty"`
	// Create says how a volume that is not there is made. Nil means with no labels and options.
	Create *volume.CreateOptions `json:",omitempty"`
	// NoCopy leaves a new volume empty. By default it gets what the image has at Target.
	NoCopy bool `json:",omitempty"`
	// Options of a tmpfs, as for mount(8): "size=64m,mode=1777,exec".
	Options string `json:",omitempty"`
}
