// Package caisson is an embeddable container engine: a pure-Go library with which a Go program pulls images, mounts
// their layers and runs containers in namespaces and cgroups, without a daemon, a helper binary or cgo.
//
// This package holds no code. It is the map of the module:
//
//   - [github.com/caisson-engine/caisson/container] runs a process in a container; its API follows os/exec.
//   - [github.com/caisson-engine/caisson/image] pulls, stores and lists images (an OCI image layout on disk).
//   - [github.com/caisson-engine/caisson/layer] extracts layers and mounts them as one root file system.
//   - [github.com/caisson-engine/caisson/volume] keeps named volumes.
//   - [github.com/caisson-engine/caisson/registry] is a client and a server of the OCI distribution protocol.
//   - [github.com/caisson-engine/caisson/namespace] and [github.com/caisson-engine/caisson/cgroups] are the core: the
//     launch of a process in namespaces, and resource limits. They know nothing of images or containers.
//   - [github.com/caisson-engine/caisson/engine] wires all of it into one value with its state in one folder; the
//     command minidocker is a thin layer above it.
//
// A container from an image, in short (errors left out):
//
//	store, _ := image.Open("/var/lib/myprogram")
//	img, _ := image.Pull(ctx, store, "alpine:3.22", nil)
//	root, _ := layer.Mount(ctx, img.Layers, nil)
//	defer root.Close()
//	c := container.New(root, "echo", "hello")
//	c.Memory, c.Stdout = 64<<20, os.Stdout
//	err := c.Run(ctx)
//
// The kernel must be Linux 5.10 or newer. On other systems every package compiles and its calls return an error that
// satisfies errors.Is(err, errors.ErrUnsupported).
package caisson
