// Command vm runs tests of this module under other kernels: it boots one of Debian's in qemu and runs the test binaries
// of the packages there, as root, on pure cgroup v2.
//
//	go run ./internal/vm -kernel 6.1 ./cgroups ./namespace
//	go run ./internal/vm -kernel 6.12 -arch arm64 -run TestStub ./namespace
//
// Kernels come from Debian's archive by apt-get download, into the user's cache folder (caisson-vm there). For another
// architecture apt gets lists of its own there, so the machine's stay as they are. Needed are the commands apt-get,
// dpkg-deb, xz, mkfs.ext4, mkfs.xfs and qemu-system-x86_64 or qemu-system-aarch64. Nothing needs root.
//
// The machine has an initramfs of one Go program and the modules, and an ext4 disk with the test binaries, their
// packages' folders, busybox and an empty XFS in the file /xfs.img. Its mounts are shared, as systemd makes them. What the tests print arrives by the
// serial console. The tests see CAISSON_VM=1.
//
// With -systemd the disk has systemd and D-Bus of Debian's packages too, unpacked and not configured. Systemd is the first
// process then, and starts a bus and the tests, as a service with Delegate=yes, and nothing else: that takes eight seconds. With -bring
// it has a command of this machine too, which is to be of the same release of Debian.
//
// The exit code is 0 when the tests of all packages passed, 1 when some failed, the kernel panicked or the time was
// over, and 2 when the machine could not be made.
package main
