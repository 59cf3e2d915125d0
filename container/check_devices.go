package container

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func (c *Container) checkDevices() error {
	if c.Privileged && len(c.DeviceRules) > 0 {
		return wrong("DeviceRules", "a privileged container may use all devices: leave it empty")
	}
	seen := make(map[string]bool)
	for i, d := range c.Devices {
		field := fmt.Sprintf("Devices[%d]", i)
		if err := checkPath(field+".Source", d.Source); err != nil {
			return err
		}
		target := d.target()
		if err := checkTarget(field+".Target", target); err != nil {
			return err
		}
		if !strings.HasPrefix(target, "/dev/") {
			return wrong(field+".Target", "%s is not below /dev", target)
		}
		if seen[target] {
			return wrong(field+".Target", "%s is there twice", target)
		}
		seen[target] = true
		if strings.Trim(d.Permissions, "rwm") != "" {
			return wrong(field+".Permissions", "%q has other letters than r, w and m", d.Permissions)
		}
		if d.Mode&^0o777 != 0 {
			return wrong(field+".Mode", "%v has more than permission bits", d.Mode)
		}
	}
	for i, d := range c.Nodes {
		if err := checkNode(fmt.Sprintf("Nodes[%d]", i), &d); err != nil {
			return err
		}
		if seen[d.Path] {
			return wrong(fmt.Sprintf("Nodes[%d].Path", i), "%s is there twice", d.Path)
		}
		seen[d.Path] = true
	}
	return nil
}

func checkNode(field string, d *specs.LinuxDevice) error {
	if err := checkTarget(field+".Path", d.Path); err != nil {
		return err
	}
	fifo := d.Type == "p"
	switch {
	case !strings.HasPrefix(d.Path, "/dev/"):
		return wrong(field+".Path", "%s is not below /dev", d.Path)
	case !fifo && !slices.Contains([]string{"c", "u", "b"}, d.Type):
		return wrong(field+".Type", "%q is none of c, u, b and p", d.Type)
	case fifo && d.Major|d.Minor != 0:
		return wrong(field+".Major", "a named pipe has no number")
	case d.Major < 0 || d.Major >= 1<<12:
		return wrong(field+".Major", "%d is not between 0 and 4095", d.Major)
	case d.Minor < 0 || d.Minor >= 1<<20:
		return wrong(field+".Minor", "%d is not between 0 and 1048575", d.Minor)
	case d.FileMode != nil && *d.FileMode&^os.ModePerm&^os.ModeDevice&^os.ModeCharDevice&^os.ModeNamedPipe != 0:
		return wrong(field+".FileMode", "%v has more than permission bits", *d.FileMode)
	case d.UID != nil && *d.UID == math.MaxUint32 || d.GID != nil && *d.GID == math.MaxUint32:
		return wrong(field+".UID", "the id 4294967295 stands for no user")
	}
	return nil
}
