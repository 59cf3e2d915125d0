// Package cdi gives a container devices by name, "vendor.com/class=name", as files of the host describe them: graphics cards and
// the like, each with the nodes, mounts, variables and groups that programs need to use it. The files are those of the Container
// Device Interface, versions 0.3.0 to 1.1.0, in JSON (.json) or YAML (.yaml).
//
//	devices, err := cdi.Load()
//	if err == nil {
//		err = devices.Apply(c, "nvidia.com/gpu=0")
//	}
//
// [Load] reads the folders /etc/cdi and /var/run/cdi. It needs no particular kernel, writes nothing, and takes its input as hostile
// as far as that goes: files are of bounded size, and whatever they say is checked as if a caller had set the container's fields. But who may write
// them chooses what of the host a container sees: the folders are to be root's. Their hooks are programs of the host that the host program
// executes (see container.Container.Hooks), as those of "nvidia-ctk cdi generate" are: of a file that others may write none is taken.
package cdi
