// Package peers tests cmd/minirunc by the programs that use an OCI runtime: the validation programs of
// opencontainers/runtime-tools, podman, containerd and dockerd, as Debian has them. It has tests only.
//
// Each test runs twice, with runc and with minirunc, in a machine of its own made of namespaces: mounts, processes,
// control groups, network, host name. There the programs have the folders that are theirs by default (/run, /var/lib, /dev/shm),
// empty, and the control groups' hierarchies with the test's own group as the root of each; users that
// exist nowhere else have sub-ids. When the machine's first process ends, all of it is gone.
package peers
