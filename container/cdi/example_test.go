package cdi_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/container/cdi"
	"github.com/caisson-engine/caisson/namespace"
)

// A vendor's tool has described its device; a container is given it by its name.
func ExampleDevices_Apply() {
	dir, err := os.MkdirTemp("", "cdi")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	description := `
cdiVersion: 0.6.0
kind: vendor.com/radio
devices:
- name: fm
  containerEdits:
    env: [RADIO=fm]
    deviceNodes:
    - {path: /dev/radio0, type: c, major: 81, minor: 64, permissions: rw}
    mounts:
    - {hostPath: /usr/lib/radio, containerPath: /usr/lib/radio, options: [ro, bind]}
`
	if err := os.WriteFile(filepath.Join(dir, "radio.yaml"), []byte(description), 0o644); err != nil {
		fmt.Println(err)
		return
	}
	devices, err := cdi.Load(dir) // without an argument /etc/cdi and /var/run/cdi
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(devices.Names())

	c := container.New(namespace.Dir("/srv/rootfs"), "listen")
	if err := devices.Apply(c, "vendor.com/radio=fm"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Env, c.Nodes[0].Path, c.Mounts[0].Target)
	// Output:
	// [vendor.com/radio=fm]
	// [RADIO=fm] /dev/radio0 /usr/lib/radio
}
