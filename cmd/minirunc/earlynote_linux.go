package main

import (
	"encoding/binary"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/caisson-engine/caisson/namespace"
)

// noteEarly notes what start and delete need to know of a container for which nothing special is to be done: see early.
func (k *container) noteEarly() error {
	if !k.NoStartHooks || len(k.Poststop) > 0 || k.Scope != "" || len(k.Group) == 0 || !k.OwnPIDNamespace() || !k.ownMounts() {
		return nil
	}
	var b []byte
	note := func(kind byte, s string) { b = append(append(append(b, kind), s...), 0) }
	pid := strconv.Itoa(k.InitProcessPid)
	note(earlyPID, pid)
	note(earlyStat, "/proc/"+pid+"/stat")
	note(earlyBegan, strconv.FormatUint(k.InitProcessStart, 10))
	if dir, ok := k.CgroupPaths[""]; ok {
		note(earlyFrozen, filepath.Join(dir, "cgroup.events"))
	}
	if dir, ok := k.CgroupPaths["freezer"]; ok {
		note(earlyFrozen, filepath.Join(dir, "freezer.state"))
	}
	for _, dir := range k.Group {
		note(earlyGroup, dir)
	}
	note(earlyEnd, "")
	return k.folder.WriteFile(earlyFile, b)
}

// startedEarly is start after early has let the process go, which could not execute its command.
func (c *command) startedEarly(id string) error {
	k, err := c.lock(id)
	if err != nil {
		return err
	}
	errno := syscall.Errno(binary.NativeEndian.Uint64(earlyReport[8:]))
	err = k.notExecuted(&namespace.StartError{Step: "execve", Err: errno})
	if e := k.close(); e != nil {
		return e
	}
	return err
}
