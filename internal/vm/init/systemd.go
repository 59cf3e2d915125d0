//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/vm/job"
)

// units are all that systemd starts. They depend on nothing that a whole system would have before them.
var units = map[string]string{
	"dbus.socket": `[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
`,
	"dbus.service": `[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
Type=notify
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation
`,
	job.Unit: `[Unit]
DefaultDependencies=no
Wants=dbus.service
After=dbus.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=exec
ExecStart=` + job.Runner + `
Delegate=yes
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
LimitNOFILE=1048576
LimitMEMLOCK=infinity
TasksMax=infinity
`,
}

// startSystemd becomes systemd, which mounts what a system has and starts this program again, as a service.
func startSystemd() error {
	for name, content := range units {
		if err := os.WriteFile(filepath.Join("/etc/systemd/system", name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile("/etc/machine-id", []byte("0123456789abcdef0123456789abcdef\n"), 0o444); err != nil {
		return err
	}
	const systemd = "/usr/lib/systemd/systemd"
	err := unix.Exec(systemd, []string{systemd}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
	return fmt.Errorf("execute %s: %w", systemd, err)
}

// runAgain runs the tests as a service of systemd.
func runAgain() error {
	j, err := readJob()
	if err != nil {
		return err
	}
	return runAll(j)
}
