// Command minidocker pulls images and runs containers, in the words of Docker's command line and with its exit codes. It
// has no daemon: each command opens the engine's folder itself, and a container that it runs ends with it.
//
//	minidocker run hello-world
//	minidocker run -it --rm -m 256m debian:12 bash
//
// The state is in /var/lib/caisson, or where --root or CAISSON_ROOT says. It must be run as root, on Linux 5.10 or newer.
// A container has no network but loopback unless it is given the host's: --network host.
package main
