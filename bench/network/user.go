//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
	ways := []way{{"network/usernet", pid, "10.1.0.1", "5201"}}
	slirp := func() (*exec.Cmd, int, error) {
		pid, err := b.box()
		return exec.Command("slirp4netns", "--configure", "--mtu=65520", strconv.Itoa(pid), "tap0"), pid, err
	}
	// It makes the namespace itself, and does not work as root everywhere.
	pasta := func() (*exec.Cmd, int, error) {
		return exec.Command("pasta", "--config-net", "-f", "-t", "none", "-u", "none", "-T", "none", "-U", "none",
			"--", "sleep", "infinity"), 0, nil
	}
	for _, peer := range []struct {
		name  string
		start func() (*exec.Cmd, int, error)
	}{{"slirp4netns", slirp}, {"pasta", pasta}} {
		if _, err := exec.LookPath(peer.name); err != nil {
			fmt.Println(peer.name, "is left out:", err)
			continue
		}
		cmd, pid, err := peer.start()
		if err != nil {
			return err
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if pid == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
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
		if pid == 0 {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
			if err != nil {
				return err
			}
			if pid, err = strconv.Atoi(strings.Fields(string(text) + " none")[0]); err != nil {
				return fmt.Errorf("%s has no child: %w", peer.name, err)
			}
			b.defers(func() error { return syscall.Kill(pid, syscall.SIGKILL) })
		}
		ways = append(ways, way{peer.name, pid, "10.1.0.1", "5201"})
	}
	if err := b.serve(b.peer); err != nil {
		return err
	}
	for _, w := range ways[1:] {
		if _, err := b.transfer(w, false); err != nil {
			fmt.Println("left out:", err)
			ways = slices.DeleteFunc(slices.Clone(ways), func(o way) bool { return o.name == w.name })
		}
	}
	if err := b.compare("without root, upload", false, ways...); err != nil {
		return err
	}
	if err := b.compare("without root, download", true, ways...); err != nil {
		return err
	}
	if err := b.serve(pid); err != nil {
		return err
	}
	return b.compare("without root, published port", false, way{"network/usernet", b.peer, "10.1.0.2", "7201"})
}
