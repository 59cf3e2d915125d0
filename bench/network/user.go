//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/network"
	"github.com/caisson-engine/caisson/network/usernet"
)

// user measures a network without root beside those of the programs that others use for it.
func (b *bench) user() error {
	// As Debian has it, for pasta, which runs as an ordinary user; in this process's mount namespace.
	if err := commands("mount -t tmpfs tmpfs /dev/net", "mknod -m 666 /dev/net/tun c 10 200"); err != nil {
		return err
	}
	s, err := b.store(&network.Options{UserMode: usernet.New()})
	if err != nil {
		return err
	}
	if _, err := s.Create(context.Background(), "net", nil); err != nil {
		return err
	}
	pid, _, _, _, err := b.sandbox(s, "user", network.Port{Container: 5201, Host: 7201})
	if err != nil {
		return err
	}
	ways := []way{{"network/usernet", pid, "10.1.0.1", "5201", os.Getpid()}}
	published := []way{{"network/usernet", b.peer, "10.1.0.2", "7201", os.Getpid()}}
	for _, peer := range []struct {
		name, port string
		start      func(port string) (program, client int, err error)
	}{{"slirp4netns", "7202", b.slirp}, {"pasta", "7203", b.pasta}} {
		if _, err := exec.LookPath(peer.name); err != nil {
			fmt.Println(peer.name, "is left out:", err)
			continue
		}
		program, client, err := peer.start(peer.port)
		if err != nil {
			fmt.Println(peer.name, "is left out:", err)
			continue
		}
		ways = append(ways, way{peer.name, client, "10.1.0.1", "5201", program})
		published = append(published, way{peer.name, b.peer, "10.1.0.2", peer.port, program})
	}
	if err := b.serve(b.peer); err != nil {
		return err
	}
	for _, w := range ways {
		if err := b.serve(w.client); err != nil {
			return err
		}
	}
	for _, w := range ways[1:] {
		if _, _, err := b.transfer(w, false); err != nil {
			fmt.Println("left out:", err)
			other := func(o way) bool { return o.name == w.name }
			ways, published = slices.DeleteFunc(slices.Clone(ways), other), slices.DeleteFunc(published, other)
		}
	}
	for _, x := range []struct {
		title   string
		reverse bool
		ways    []way
	}{{"upload", false, ways}, {"download", true, ways}, {"published port", false, published}, {"published port, reverse", true, published}} {
		if err := b.compare("without root, "+x.title, x.reverse, x.ways...); err != nil {
			return err
		}
	}
	return nil
}

// start starts a program that goes with the benchmark, as a user if that is not 0.
func (b *bench) start(cmd *exec.Cmd, user uint32) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if user != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.defers(func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil
	})
	time.Sleep(2 * time.Second)
	return nil
}

// slirp starts slirp4netns for a box, and publishes iperf3's port of it.
func (b *bench) slirp(port string) (program, client int, err error) {
	if client, err = b.box(); err != nil {
		return 0, 0, err
	}
	dir, err := os.MkdirTemp("", "caisson-bench-")
	if err != nil {
		return 0, 0, err
	}
	b.defers(func() error { return os.RemoveAll(dir) })
	socket := filepath.Join(dir, "api")
	cmd := exec.Command("slirp4netns", "--configure", "--mtu=65520", "--api-socket", socket, strconv.Itoa(client), "tap0")
	if err := b.start(cmd, 0); err != nil {
		return 0, 0, err
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	_, err = fmt.Fprintf(c, `{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"0.0.0.0","host_port":%s,"guest_port":5201}}`, port)
	if err != nil {
		return 0, 0, err
	}
	answer, err := io.ReadAll(c)
	if err == nil && strings.Contains(string(answer), "error") {
		err = fmt.Errorf("publish: %s", answer)
	}
	return cmd.Process.Pid, client, err
}

// pasta starts pasta, which makes the namespace itself and does not work as root everywhere. The gateway, who is the peer, would stand for
// the host.
func (b *bench) pasta(port string) (program, client int, err error) {
	cmd := exec.Command("pasta", "--config-net", "--no-map-gw", "-f", "-t", port+":5201", "-u", "none", "-T", "none", "-U", "none",
		"--", "sleep", "infinity")
	if err := b.start(cmd, 65534); err != nil {
		return 0, 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	if client, err = strconv.Atoi(strings.Fields(string(text) + " none")[0]); err != nil {
		return 0, 0, fmt.Errorf("it has no child: %w", err)
	}
	b.defers(func() error { return syscall.Kill(client, syscall.SIGKILL) })
	return cmd.Process.Pid, client, nil
}
