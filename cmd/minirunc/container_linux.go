package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A state is what is written down of a container, in state.json of its folder. The fields that runc's has are named as
// there, so that other programs read it.
type state struct {
	ID               string            `json:"id"`
	InitProcessPid   int               `json:"init_process_pid"`
	InitProcessStart uint64            `json:"init_process_start"` // ticks since the boot
	Created          time.Time         `json:"created"`
	Config           stateConfig       `json:"config"`
	Rootless         bool              `json:"rootless"`
	CgroupPaths      map[string]string `json:"cgroup_paths"`    // by controller; "" on v2
	NamespacePaths   map[string]string `json:"namespace_paths"` // by kind, "NEWPID"

	// What runc's does not have.
	OCIVersion  string            `json:"oci_version"`
	Bundle      string            `json:"bundle"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Group       []string          `json:"group,omitempty"` // the folders of the control group: cgroups.Group.Paths
	Scope       string            `json:"scope,omitempty"` // systemd's unit, if it made the group
}

type stateConfig struct {
	Rootfs string   `json:"rootfs"`
	Labels []string `json:"labels"` // "bundle=/path", and the annotations
}

// The files in a container's folder.
const (
	stateFile  = "state.json"
	configFile = "config.json" // as it was when the container was created
	gateFile   = "exec.fifo"   // the process waits for a byte here: it is there until start has sent it
	reportFile = "report.fifo" // and says here whether it executes
)

// A container is one that has a folder.
type container struct {
	*state
	dir string
	c   *command
}

// Errors whose text is runc's, which callers look for.
var (
	errNoContainer = &textError{"container does not exist", fs.ErrNotExist}
	errIDInUse     = &textError{"container with given ID already exists", fs.ErrExist}
)

// A textError is another error with a text of its own.
type textError struct {
	text string
	is   error
}

func (e *textError) Error() string { return e.text }
func (e *textError) Unwrap() error { return e.is }

var idForm = regexp.MustCompile(`^[\w+.-]+$`)

// checkID refuses names that are no folder's.
func checkID(id string) error {
	if id == "" {
		return errors.New("container id cannot be empty")
	}
	if !idForm.MatchString(id) || id == "." || id == ".." || len(id) > 255 {
		return errors.New("invalid id format")
	}
	return nil
}

// claim makes the folder of a new container.
func (c *command) claim(id string) (*container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.root, 0o711); err != nil {
		return nil, err
	}
	dir := filepath.Join(c.root, id)
	if err := os.Mkdir(dir, 0o711); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, errIDInUse
		}
		return nil, err
	}
	return &container{state: &state{ID: id}, dir: dir, c: c}, nil
}

// open finds a container.
func (c *command) open(id string) (*container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	dir := filepath.Join(c.root, id)
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoContainer
	}
	if err != nil {
		return nil, err
	}
	k := &container{state: &state{}, dir: dir, c: c}
	if err := json.Unmarshal(b, k.state); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	return k, nil
}

// save writes the state: whole, or not at all.
func (k *container) save() error {
	b, err := json.Marshal(k.state)
	if err != nil {
		return err
	}
	tmp := filepath.Join(k.dir, ".tmp-"+stateFile)
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(k.dir, stateFile))
}

// status is what becomes of the container: "creating", "created", "running" or "stopped". (Paused is for the control group to say.)
func (k *container) status() specs.ContainerState {
	switch {
	case k.InitProcessPid == 0:
		return specs.StateCreating
	case !k.alive():
		return specs.StateStopped
	}
	if _, err := os.Lstat(filepath.Join(k.dir, gateFile)); err == nil {
		return specs.StateCreated
	}
	return specs.StateRunning
}

// alive says whether the first process runs: it, and not another one that has its number now.
func (k *container) alive() bool {
	start, zombie, err := processStart(k.InitProcessPid)
	return err == nil && !zombie && start == k.InitProcessStart
}

// processStart is when a process was started, in ticks since the boot.
func processStart(pid int) (start uint64, zombie bool, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return 0, false, fmt.Errorf("/proc/%d/stat: it is cut off", pid)
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return start, f[0] == "Z" || f[0] == "X", err
}

// ociState is the state as the OCI runtime specification has it, which hooks get.
func (k *container) ociState(status specs.ContainerState) *specs.State {
	s := &specs.State{
		Version: k.OCIVersion, ID: k.ID, Status: status, Pid: k.InitProcessPid, Bundle: k.Bundle, Annotations: k.Annotations,
	}
	if status == specs.StateStopped {
		s.Pid = 0
	}
	return s
}
