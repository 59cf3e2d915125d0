package main

import (
	"github.com/spf13/pflag"

	"github.com/caisson-engine/caisson/engine"
)

// runFlags are the flags of run that are not a field of engine.Config as they stand.
type runFlags struct {
	config      engine.Config
	interactive bool
	detach      bool
	attach      []string
	proxy       bool
	keys        string
	explain     bool
	quiet       bool
	pull        string
	restart     string

	env, envFiles, labels          []string
	annotations                    []string
	gpus                           []string
	volumes, mounts, tmpfs         []string
	volumeDriver                   string
	entrypoint                     string
	memory, swap, reservation, shm string
	security, ulimits, sysctls     []string
	oomScoreAdj                    int
	cidfile                        string
	labelFiles                     []string
	stopTimeout                    int
	logOptions                     []string
	network                        networkFlags
	flags                          *pflag.FlagSet
	resources                      resourceFlags
	health                         healthFlags
	isolationFlags
}

func (r *runFlags) add(f *pflag.FlagSet) {
	c := &r.config
	r.flags = f
	f.SetInterspersed(false)
	f.Bool("help", false, "Print usage") // -h is the hostname
	f.BoolVarP(&r.interactive, "interactive", "i", false, "Keep STDIN open")
	f.BoolVarP(&c.TTY, "tty", "t", false, "Allocate a pseudo-TTY")
	f.BoolVarP(&r.detach, "detach", "d", false, "Run container in background and print container ID")
	f.StringArrayVarP(&r.attach, "attach", "a", nil, "Attach to STDIN, STDOUT or STDERR")
	f.BoolVar(&r.proxy, "sig-proxy", true, "Proxy received signals to the process")
	f.StringVar(&r.keys, "detach-keys", "", `Run the container so that these keys leave it running in background ("ctrl-p,ctrl-q")`)
	f.BoolVar(&c.Init, "init", false, "Run an init that forwards signals and reaps processes")
	f.BoolVar(&c.AutoRemove, "rm", false, "Remove the container and its anonymous volumes when it exits")
	f.StringVar(&r.restart, "restart", "no", "Restart policy to apply when a container exits")
	f.StringVar(&c.Name, "name", "", "Assign a name to the container")
	f.BoolVar(&r.explain, "explain", false,
		"Print what would be made on disk and the system calls that would start the container, and do neither; a missing "+
			"image is pulled")
	f.StringVar(&r.pull, "pull", "missing", `Pull image before running ("always", "missing", "never")`)
	f.StringVar(&c.Platform, "platform", "", "Run the image for this platform (os/arch[/variant])")
	f.BoolVarP(&r.quiet, "quiet", "q", false, "Suppress the pull output")

	f.StringArrayVarP(&r.env, "env", "e", nil, "Set environment variables")
	f.StringArrayVar(&r.envFiles, "env-file", nil, "Read in a file of environment variables")
	f.StringArrayVarP(&r.labels, "label", "l", nil, "Set meta data on the container")
	f.StringArrayVar(&r.annotations, "annotation", nil, "Add an annotation to the container")
	f.StringArrayVar(&r.labelFiles, "label-file", nil, "Read in a line delimited file of labels")
	f.StringVar(&r.cidfile, "cidfile", "", "Write the container ID to the file")
	f.StringVarP(&c.Dir, "workdir", "w", "", "Working directory inside the container")
	f.StringVarP(&c.User, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	f.StringArrayVar(&c.Groups, "group-add", nil, "Add additional groups to join")
	f.StringVar(&r.entrypoint, "entrypoint", "", "Overwrite the default ENTRYPOINT of the image")
	f.StringVarP(&c.Hostname, "hostname", "h", "", "Container host name")
	f.StringVar(&c.StopSignal, "stop-signal", "", "Signal to stop the container")
	f.IntVar(&r.stopTimeout, "stop-timeout", 0, "Timeout (in seconds) to stop a container: -1 for none")
	f.StringVar(&c.LogDriver, "log-driver", "", "Logging driver for the container: json-file and local are one; with none, what it prints is not kept and cannot be attached to")
	f.StringArrayVar(&r.logOptions, "log-opt", nil, "Log driver options: max-size, max-file")
	r.network.add(f, c)

	f.StringArrayVarP(&r.volumes, "volume", "v", nil, "Bind mount a volume")
	f.StringArrayVar(&r.mounts, "mount", nil, "Attach a filesystem mount to the container")
	f.StringArrayVar(&r.tmpfs, "tmpfs", nil, "Mount a tmpfs directory")
	f.StringVar(&r.volumeDriver, "volume-driver", "", "Volume driver for the container's volumes: local is the only one")
	f.StringArrayVar(&c.VolumesFrom, "volumes-from", nil, "Mount volumes from the specified container(s)")
	f.BoolVar(&c.ReadOnlyRoot, "read-only", false, "Mount the container's root filesystem as read only")
	f.StringVar(&r.shm, "shm-size", "", "Size of /dev/shm")

	f.StringVarP(&r.memory, "memory", "m", "", "Memory limit")
	f.StringVar(&r.swap, "memory-swap", "", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
	f.StringVar(&r.reservation, "memory-reservation", "", "Memory soft limit")
	f.Float64Var(&c.CPUs, "cpus", 0, "Number of CPUs")
	f.Uint64VarP(&c.CPUShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.StringVar(&c.CpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&c.CpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	f.Int64Var(&c.PidsLimit, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	f.IntVar(&r.oomScoreAdj, "oom-score-adj", 0, "Tune host's OOM preferences (-1000 to 1000)")
	f.StringArrayVar(&r.ulimits, "ulimit", nil, "Ulimit options")
	f.StringArrayVar(&r.sysctls, "sysctl", nil, "Sysctl options")

	r.resources.add(f)
	r.health.add(f)
	f.StringVar(&c.CgroupParent, "cgroup-parent", "", "Control group that the container's is made in: an absolute path, or one "+
		"below this command's own group; a slice with --cgroup-manager systemd")
	f.StringVar(&c.CgroupNamespace, "cgroupns", "", `Cgroup namespace to use ("host", "private")`)
	r.addIsolation(f)
	refuseFlag(f, "runtime", "", "caisson", "this command starts containers itself, as the runtime caisson")
	refuseFlag(f, "isolation", "", "default", "that is Windows's")
	refuseFlag(f, "storage-opt", "", "", "a container's root has no size of its own; volumes have: volume create -o size=")
	refuseFlag(f, "kernel-memory", "", "", "Linux has no such limit any more, and Docker ignores it")
	refuseSwitch(f, "use-api-socket", "", false, "docker calls it experimental; -v mounts a daemon's socket")
	untrusted(f)
	f.BoolVar(&c.Privileged, "privileged", false, "Give extended privileges to this container")
	f.StringArrayVar(&c.CapAdd, "cap-add", nil, "Add Linux capabilities")
	f.StringArrayVar(&c.CapDrop, "cap-drop", nil, "Drop Linux capabilities")
	f.StringArrayVar(&r.security, "security-opt", nil, "Security Options")
}
