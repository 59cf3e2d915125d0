package container

import (
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/internal/word"
)

// ipcSysctls are the parameters of an IPC namespace, besides fs.mqueue.*.
var ipcSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
	"kernel.shmmni", "kernel.shm_rmid_forced",
}

// sysctlValue says whether a value has but the characters of numbers, lists, addresses and names that parameters of a namespace take. A value that
// holds what looks like a second parameter ("1+kernel.core_pattern=|/x", CVE-2022-0811) is not among them.
func sysctlValue(s string) bool { return s == "" || word.Is(s, " \t_.,:/*-", "") }

func (c *Container) checkSysctls() error {
	for name, value := range c.Sysctls {
		field := "Sysctls[" + name + "]"
		dotted := strings.ReplaceAll(name, "/", ".")
		network := strings.HasPrefix(dotted, "net.")
		ipc := slices.Contains(ipcSysctls, dotted) || strings.HasPrefix(dotted, "fs.mqueue.")
		uts := dotted == "kernel.domainname"
		switch {
		case strings.IndexByte(name+value, 0) >= 0:
			return wrong(field, "%q contains a NUL byte", name+"="+value)
		case strings.Contains(dotted, "..") || strings.HasSuffix(dotted, "."):
			return wrong(field, "%q is not the name of a parameter", name)
		case dotted == "kernel.hostname":
			return wrong(field, "use Hostname")
		case uts && c.Domainname != "":
			return wrong(field, "Domainname is set too")
		case !network && !ipc && !uts:
			return wrong(field, "it is not a parameter of a namespace: use net.*, fs.mqueue.*, kernel.domainname or one of %s",
				strings.Join(ipcSysctls, ", "))
		case network && !isNew(c.Namespaces.Network):
			return wrong(field, "it needs a new network namespace")
		case ipc && !isNew(c.Namespaces.IPC):
			return wrong(field, "it needs a new IPC namespace")
		case uts && !isNew(c.Namespaces.UTS):
			return wrong(field, "it needs a new UTS namespace")
		case !sysctlValue(value):
			return wrong(field, "the value %q holds other characters than letters, digits, blanks and \"_.,:/*-\"", value)
		}
	}
	return nil
}
