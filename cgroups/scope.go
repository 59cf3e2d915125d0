package cgroups

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caisson-engine/caisson/internal/word"
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
	// Resources are the limits that systemd knows of too, as properties of the scope: memory, swap (with Memory, on v2), CPU
	// quota, period and weight, processes, the weight of I/O, and on v2 the processors and memory nodes. It writes them to
	// the group's files, also when it reads its configuration anew. Other fields, and what the running version does not know,
	// are left to those who write the files: see [Group.Update]. Nil sets none.
	Resources *Resources
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
	// Invocation is systemd's number for this run of the unit, in hexadecimal digits: another scope that has the name later has
	// another one. Empty before systemd 232.
	Invocation string

	address string
	private bool
}

// ErrNoSystemd is returned when systemd does not run, or is not to be reached. It satisfies errors.ErrUnsupported.
var ErrNoSystemd error = &sentinel{"systemd cannot be reached over D-Bus", errors.ErrUnsupported}

func unitName(s string) bool { return word.Is(s, `:_.\@-`, "") }

// badScope is the error of a field of the options.
func badScope(field, value, why string) error {
	return fmt.Errorf("scope: %s %.300q: %s", field, value, why)
}

func checkUnit(field, name, suffix string) error {
	if len(name) > maxName || !unitName(name) || !strings.HasSuffix(name, suffix) || name == suffix {
		return badScope(field, name, "is not the name of a unit that ends in "+suffix)
	}
	return nil
}

func (o *ScopeOptions) validateName() error { return checkUnit("Name", o.Name, ".scope") }

// Validate says whether the values make sense. CreateScope calls it.
func (o *ScopeOptions) Validate() error {
	if err := o.validateName(); err != nil {
		return err
	}
	if o.Slice != "" {
		if err := checkUnit("Slice", o.Slice, ".slice"); err != nil {
			return err
		}
	}
	if len(o.PIDs) == 0 {
		return badScope("PIDs", "", "is empty: a scope needs a process")
	}
	for _, pid := range o.PIDs {
		if pid <= 0 {
			return badScope("PIDs", fmt.Sprint(pid), "is not the number of a process")
		}
	}
	if err := o.Resources.Validate(); err != nil {
		return fmt.Errorf("scope: Resources: %w", err)
	}
	if strings.ContainsAny(o.Description, "\x00\n") {
		return badScope("Description", o.Description, "holds a NUL byte or a line break")
	}
	return nil
}
