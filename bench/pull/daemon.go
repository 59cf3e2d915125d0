//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A daemon is a program that pulls for a client. It is started on the fresh file system before the clock is.
type daemon struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	ended  chan error
	before usage
}

// A usage is what the daemon and those it has started have taken.
type usage struct {
	cpu    time.Duration
	memory int64 // KB
}

// startDaemon starts a daemon and waits until ready says that it is.
func startDaemon(cmd *exec.Cmd, ready func() error) (*daemon, error) {
	d := &daemon{cmd: cmd, ended: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &d.out, &d.out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.ended <- cmd.Wait() }()
	for range 300 {
		if ready() == nil {
			d.before = d.usage()
			return d, nil
		}
		select {
		case err := <-d.ended:
			return nil, fmt.Errorf("%s: %w: %s", cmd.Path, err, d.out.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil, errors.Join(fmt.Errorf("%s does not answer: %s", cmd.Path, d.out.String()), d.stop())
}

func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
	return nil
}

// usage reads proc_pid_stat(5) of the daemon and its children, those that have ended included.
func (d *daemon) usage() (u usage) {
	pids := []int{d.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		proc := "/proc/" + strconv.Itoa(pids[i])
		children, _ := filepath.Glob(proc + "/task/*/children")
		for _, c := range children {
			b, _ := os.ReadFile(c)
			for _, s := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(s); err == nil {
					pids = append(pids, pid)
				}
			}
		}
		b, err := os.ReadFile(proc + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime, in hundredths
			n, _ := strconv.ParseInt(f, 10, 64)
			u.cpu += time.Duration(n) * 10 * time.Millisecond
		}
		status, _ := os.ReadFile(proc + "/status")
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				u.memory += n
			}
		}
	}
	return u
}

// dockerd is Debian's, with a folder of its own and without a network.
func dockerd(dir, run string) (*daemon, error) {
	socket := filepath.Join(run, "docker.sock")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	return startDaemon(exec.Command("dockerd", "--data-root", dir, "--exec-root", filepath.Join(run, "exec"), "--pidfile",
		filepath.Join(run, "pid"), "-H", "unix://"+socket, "--bridge=none", "--iptables=false", "--ip6tables=false",
		"--ip-forward=false", "--storage-driver=overlay2"), func() error {
		resp, err := client.Get("http://docker/_ping")
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	})
}

// containerd is Debian's, with a folder of its own.
func containerd(dir, run string) (*daemon, error) {
	config, socket := filepath.Join(run, "config.toml"), filepath.Join(run, "containerd.sock")
	text := "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return startDaemon(exec.Command("containerd", "--config", config, "--root", dir, "--state", filepath.Join(run, "state"),
		"--address", socket), func() error {
		return exec.Command("ctr", "--address", socket, "version").Run()
	})
}
