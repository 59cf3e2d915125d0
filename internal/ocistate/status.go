package ocistate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Paused is a status beyond the specification's: all processes are frozen.
const Paused specs.ContainerState = "paused"

// Status says what has become of the container: created, running, paused or stopped.
func (s *State) Status() (specs.ContainerState, error) {
	err := s.Alive()
	if errors.Is(err, ErrNotRunning) {
		return specs.StateStopped, nil
	}
	if err != nil {
		return "", err
	}
	if s.frozen() {
		return Paused, nil
	}
	switch _, err := os.Stat(filepath.Join(s.dir, FIFO)); {
	case err == nil:
		return specs.StateCreated, nil
	case errors.Is(err, fs.ErrNotExist):
		return specs.StateRunning, nil
	default:
		return "", err
	}
}

// frozen reads what the freezer says, of the unified hierarchy or v1: another tool may use the other one.
func (s *State) frozen() bool {
	if dir, ok := s.CgroupPaths[""]; ok {
		b, err := readFile(filepath.Join(dir, "cgroup.events"))
		if err == nil && strings.Contains(string(b), "frozen 1") {
			return true
		}
	}
	if dir, ok := s.CgroupPaths["freezer"]; ok {
		b, err := readFile(filepath.Join(dir, "freezer.state"))
		if err == nil && strings.TrimSpace(string(b)) == "FROZEN" {
			return true
		}
	}
	return false
}

// Alive returns nil if the container's first process runs, and ErrNotRunning if it has ended, reaped or not.
func (s *State) Alive() error {
	if s.InitProcessPid <= 0 || s.BootID != "" && s.BootID != bootID() {
		return ErrNotRunning
	}
	st, err := readStat(s.InitProcessPid)
	switch {
	case errors.Is(err, fs.ErrNotExist), gone(err):
		return ErrNotRunning
	case err != nil:
		return err
	case st.start != s.InitProcessStart || st.dead:
		return ErrNotRunning
	}
	return nil
}

// Ending says whether the container's first process is in its end: it executes nothing any more and cannot be kept from ending, but has
// not given back what it had, such as its mounts, or waits for the other processes of its PID namespace.
func (s *State) Ending() bool {
	st, err := readStat(s.InitProcessPid)
	return err == nil && st.start == s.InitProcessStart && st.ending && s.Alive() == nil
}

// bootID is what tells one run of the kernel from the next, "" if that cannot be found out.
var bootID = sync.OnceValue(func() string {
	b, err := readFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

// StartTime returns when a process started, in clock ticks since boot.
func StartTime(pid int) (uint64, error) {
	st, err := readStat(pid)
	return st.start, err
}

// Session returns the session that a process is in: the number of the process that has made it.
func Session(pid int) (int, error) {
	st, err := readStat(pid)
	return st.session, err
}

type stat struct {
	start   uint64
	session int
	ending  bool // it has called exit, or was killed
	dead    bool // a zombie
}

// readStat reads /proc/PID/stat, whose second field is the name in parentheses, and may itself hold some.
func readStat(pid int) (st stat, err error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	b, err := readFile(path)
	if err != nil {
		return st, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return st, fmt.Errorf("%s: %d fields", path, len(fields))
	}
	const exiting = 0x4 // PF_EXITING
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	if err != nil {
		return st, err
	}
	st.ending = flags&exiting != 0
	st.dead = fields[0] == "Z" || fields[0] == "X" || fields[0] == "x"
	if st.session, err = strconv.Atoi(fields[3]); err == nil {
		st.start, err = strconv.ParseUint(fields[19], 10, 64)
	}
	return st, err
}
