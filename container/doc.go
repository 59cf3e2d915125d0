// Package container runs a command in a container: in Linux namespaces of its own, with a root file system that it
// cannot leave, in a control group with limits, with few capabilities and a system call filter. Its shape is that of
// os/exec: [New] returns a [Container] whose exported fields are then set, [Container.Start] starts it, [Process.Wait]
// waits for it, and standard input and output are wired as os/exec does.
//
//	root := namespace.Dir("/srv/rootfs")
//	c := container.New(root, "echo", "hello")
//	c.Memory = 64 << 20
//	out, err := c.Output(ctx)
//
// There is no daemon and no helper program; the host program is not run again. A failure before the command ran is a
// [*StartError], one of the command itself an [*ExitError]. [Container.Command] runs further commands inside. When
// the host program ends, by SIGKILL too, its containers are killed and their control groups removed.
//
// Docker's defaults hold where the package has a choice: capabilities, the seccomp profile, masked and read-only
// paths, device nodes. Two are stricter: no_new_privs is set, and the network is a new, empty one with loopback up.
//
// It needs Linux 5.10 or newer and the right to make namespaces; elsewhere Start returns an error that satisfies
// errors.ErrUnsupported. On disk it leaves nothing but what the command writes into the root and the binds. While a
// container runs there is a folder for its control group in each hierarchy below /sys/fs/cgroup.
package container
