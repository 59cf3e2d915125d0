//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dockerScript starts dockerd on a machine of its own as to mounts and control groups, so that all that it makes goes with it, or is
// below the group that this program is in.
const dockerScript = `set -e
hierarchies=$(grep -E ' - cgroup2? ' /proc/self/mountinfo)
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /sys/fs/cgroup
printf '%s\n' "$hierarchies" | while read -r _ _ _ _ at rest; do
	kind=${rest##* - }
	kind=${kind%% *}
	mkdir -p "$at"
	case $kind in
	cgroup) mount -t cgroup -o "${rest##* rw,}" cgroup "$at" ;;
	cgroup2) mount -t cgroup2 cgroup2 "$at" ;;
	esac
done
trap 'kill $(cat /run/docker.pid)' TERM
dockerd --data-root "$1/data" --exec-root /run/docker --pidfile /run/docker.pid -H "unix://$1/socket" --cgroup-parent "$2" \
	--storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs &
wait $! || wait $! || true
for i in 1 2 3 4 5 6 7 8 9; do
	find /sys/fs/cgroup -depth -type d -path "/sys/fs/cgroup*$2*" -exec rmdir {} + 2>/dev/null && break
	sleep 0.2
done
`

// A dockerHost is a machine with a dockerd.
type dockerHost struct {
	pid    int
	socket string
}

// dockerd starts one, on a machine that is beside the peer as the host is: 10.2.0.2.
func (b *bench) dockerd() (d *dockerHost, err error) {
	d = &dockerHost{}
	if d.pid, err = b.box(); err != nil {
		return nil, err
	}
	host := strconv.Itoa(d.pid)
	err = errors.Join(
		command("ip", "link", "add", "lan2", "netns", strconv.Itoa(b.peer), "type", "veth", "peer", "name", "lan", "netns", host),
		in(b.peer, "ip addr add 10.2.0.1/24 dev lan2"), in(b.peer, "ip link set lan2 up"),
		in(d.pid, "ip addr add 10.2.0.2/24 dev lan"), in(d.pid, "ip link set lan up"), in(d.pid, "ip route add default via 10.2.0.1"),
		in(d.pid, "sysctl -qe -w net.bridge.bridge-nf-call-iptables="+b.filtered+" net.bridge.bridge-nf-call-ip6tables="+b.filtered))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "caisson-bench-")
	if err != nil {
		return nil, err
	}
	d.socket = filepath.Join(dir, "socket")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("nsenter", "-n", "-t", host, "unshare", "-m", "-C", "sh", "-c", dockerScript, "sh", dir,
		"/caisson-bench-"+strconv.Itoa(os.Getpid()))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.defers(func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		return os.RemoveAll(dir)
	})
	for range 300 {
		if _, err = d.docker("version"); err == nil {
			return d, d.image()
		}
		time.Sleep(100 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	return nil, fmt.Errorf("dockerd does not answer: %w\n%s", err, text)
}

func (d *dockerHost) docker(args ...string) (string, error) {
	out, err := exec.Command("docker", append([]string{"-H", "unix://" + d.socket}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// image makes one of busybox alone.
func (d *dockerHost) image() error {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	script := fmt.Sprintf("tar -c --transform 's,.*,busybox,' -P %s | docker -H unix://%s import - bench", path, d.socket)
	return command("sh", "-c", script)
}

// run starts a container and returns its first process and its address.
func (d *dockerHost) run(options ...string) (pid int, address string, err error) {
	id, err := d.docker(append(append([]string{"run", "-d"}, options...), "bench", "/busybox", "sleep", "100000")...)
	if err != nil {
		return 0, "", err
	}
	text, err := d.docker("inspect", "-f", "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id)
	if err != nil {
		return 0, "", err
	}
	_, err = fmt.Sscan(text, &pid, &address)
	return pid, address, err
}

// docker measures a bridge and a published port beside dockerd's. Each has a host of its own, and both are on cables of the same
// kind to the same machine.
func (b *bench) docker() error {
	for _, name := range []string{"dockerd", "docker", "busybox"} {
		if _, err := exec.LookPath(name); err != nil {
			fmt.Println("dockerd is left out:", err)
			return nil
		}
	}
	one, two, e, err := b.pair()
	if err != nil {
		return err
	}
	d, err := b.dockerd()
	if err != nil {
		return err
	}
	three, address, err := d.run("-p", "6201:5201")
	if err != nil {
		return err
	}
	four, _, err := d.run()
	if err != nil {
		return err
	}
	// A network of its own has containers' names, as each of ours has; Docker's default one has not.
	if _, err := d.docker("network", "create", "named"); err != nil {
		return err
	}
	five, namedAddress, err := d.run("--network", "named", "-p", "6202:5201")
	if err != nil {
		return err
	}
	six, _, err := d.run("--network", "named")
	if err != nil {
		return err
	}
	for _, pid := range []int{one, three, five} {
		if err := b.serve(pid); err != nil {
			return err
		}
	}
	name := func(what string) string {
		return what + map[string]string{"0": "", "1": ", bridged frames filtered"}[b.filtered]
	}
	ours := e.IPv4.Addr().String()
	published := []way{
		{"dockerd, its default", b.peer, "10.2.0.2", "6201", 0}, {"dockerd, with names", b.peer, "10.2.0.2", "6202", 0},
		{"network", b.peer, "10.1.0.2", "6201", 0},
	}
	err = errors.Join(
		b.compare(name("between containers"), false, way{"dockerd, its default", four, address, "5201", 0},
			way{"dockerd, with names", six, namedAddress, "5201", 0}, way{"network", two, ours, "5201", 0}),
		b.compare(name("published port"), false, published...),
		b.compare(name("published port, download"), true, published...),
		b.compare(name("published port, loopback"), false, way{"dockerd", d.pid, "127.0.0.1", "6201", 0}, way{"network", 0, "127.0.0.1", "6201", 0}))
	return errors.Join(err, b.closeTo(1))
}
