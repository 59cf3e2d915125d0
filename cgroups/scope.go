package cgroups

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caisson-engine/caisson/internal/pattern"
)

// A ScopeOptions says what scope systemd is to make.
type ScopeOptions struct {
	// Name is the unit's name, "caisson-4f1c.scope". It must not be in use.
	Name string
	// Slice is the slice that it goes into, "machine.slice". Empty means system.slice, or for a user's manager the one
	// that it chooses.
	Slice string
	// Description is shown by systemctl. Empty means Name.
	Description string
	// PIDs are the processes that are moved into it: at least one, since a scope ends with its last process. The program
	// itself can be one of them.
	PIDs []int
	// User talks to the manager of the user who runs the program, not to the system's.
	User bool
	// Address is where systemd listens, as a D-Bus address ("unix:path=/run/dbus/system_bus_socket"). Empty tries its
	// private socket, then the bus: the system's or the user's.
	Address string
}

// A Scope is a unit of systemd with a control group that is ours to divide (Delegate=yes).
type Scope struct {
	Name  string
	Group string // "/system.slice/caisson-4f1c.scope": groups are made below it by Manager.Create(Group + "/job", …)

	address string
	private bool
}

// ErrNoSystemd is returned when systemd does not run, or is not to be reached. It satisfies errors.ErrUnsupported.
var ErrNoSystemd error = &sentinel{"systemd cannot be reached over D-Bus", errors.ErrUnsupported}

var unitName = pattern.Match(`^[A-Za-z0-9:_.\\@-]+$`)

func (o *ScopeOptions) validate() error {
	bad := func(field, value, why string) error { return fmt.Errorf("scope: %s %.300q: %s", field, value, why) }
	unit := func(field, name, suffix string) error {
		if len(name) > maxName || !unitName(name) || !strings.HasSuffix(name, suffix) || name == suffix {
			return bad(field, name, "is not the name of a unit that ends in "+suffix)
		}
		return nil
	}
	if err := unit("Name", o.Name, ".scope"); err != nil {
		return err
	}
	if o.Slice != "" {
		if err := unit("Slice", o.Slice, ".slice"); err != nil {
			return err
		}
	}
	if len(o.PIDs) == 0 {
		return bad("PIDs", "", "is empty: a scope needs a process")
	}
	for _, pid := range o.PIDs {
		if pid <= 0 {
			return bad("PIDs", fmt.Sprint(pid), "is not the number of a process")
		}
	}
	if strings.ContainsAny(o.Description, "\x00\n") {
		return bad("Description", o.Description, "holds a NUL byte or a line break")
	}
	return nil
}
