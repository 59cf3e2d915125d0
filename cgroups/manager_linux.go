package cgroups

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Manager creates and opens groups. It keeps a descriptor of the group that the program was in when Detect was
// called, one in each hierarchy. It is safe for use by several goroutines.
type Manager struct {
	mode        Mode
	hierarchies []*hierarchy
	controllers map[string]*hierarchy // where each controller is: v1's hierarchies, or the unified one
	unified     *hierarchy            // nil on v1
	absent      map[string]error      // why a hierarchy that exists is not used

	devices deviceProgram
	between between
	groups  atomic.Int64 // groups that are not closed

	// For tests: hook is called before each step with its name and the path it is about, and its error taken for the
	// step's. anyFS accepts directories that are not on a cgroup file system.
	hook  func(step, path string) error
	anyFS bool

	closing sync.RWMutex // held for reading by what may use own descriptors after Close
	closed  bool
}

// A hierarchy is a mounted tree of groups.
type hierarchy struct {
	names   []string // v1: controllers, or "name=…"
	unified bool
	mount   mount
	own     int    // descriptor of the program's group
	path    string // its path on the host's file system

	available []string // unified: controllers at the top of what is mounted
	oldMemory bool     // v1 memory, Linux < 5.11: a group must be told to count its children
}

func (h *hierarchy) has(controller string) bool { return slices.Contains(h.names, controller) }

func (h *hierarchy) String() string {
	if h.unified {
		return "unified"
	}
	return strings.Join(h.names, ",")
}

// Detect finds out how control groups are mounted and which group the program is in. It reads /proc/self/mountinfo and
// /proc/self/cgroup. It returns ErrNotMounted when there are none, and ErrNotDelegated when all are read-only.
func Detect() (*Manager, error) {
	mountinfo, err := readProc("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	group, err := readProc("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	m := &Manager{}
	if err := m.detect(mountinfo, group); err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	return m, nil
}

// readProc reads a file of proc, which the runtime's poller need not hear of.
func readProc(path string) ([]byte, error) {
	b, err := readFile(unix.AT_FDCWD, path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// detect fills in m from the two files.
func (m *Manager) detect(mountinfo, group []byte) error {
	mounts, err := parseMountinfo(mountinfo)
	if err != nil {
		return err
	}
	members, err := parseProcGroup(group)
	if err != nil {
		return err
	}
	m.controllers, m.absent = make(map[string]*hierarchy), make(map[string]error)
	v1 := 0
	for _, member := range members {
		h, err := m.open(member, mounts)
		if err != nil {
			for _, c := range member.controllers {
				m.absent[c] = err
			}
			if member.controllers == nil {
				m.absent["unified"] = err
			}
			continue
		}
		m.hierarchies = append(m.hierarchies, h)
		if h.unified {
			m.unified = h
			continue
		}
		for _, c := range h.names {
			m.controllers[c] = h
			if !strings.HasPrefix(c, "name=") {
				v1++
			}
		}
	}
	return m.settle(v1)
}

// settle decides on the mode, when v1 has so many controllers.
func (m *Manager) settle(v1 int) error {
	switch {
	case v1 > 0 && m.unified != nil:
		m.mode = Hybrid
	case v1 > 0:
		m.mode = V1
	case m.unified != nil:
		m.mode = V2
		// A named hierarchy beside v2 has no controllers, and clone3 places a process in one group only.
		for _, h := range m.hierarchies {
			if h != m.unified {
				_ = unix.Close(h.own)
			}
		}
		m.hierarchies = []*hierarchy{m.unified}
		clear(m.controllers)
	default:
		errs := []error{ErrNotMounted}
		for _, err := range m.absent {
			if errors.Is(err, ErrNotDelegated) {
				return err
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	if m.unified != nil {
		for _, c := range m.unified.available {
			if m.controllers[c] == nil {
				m.controllers[c] = m.unified
			}
		}
	}
	if h := m.controllers["memory"]; h != nil && !h.unified {
		b, err := readFile(h.own, "memory.use_hierarchy")
		h.oldMemory = err == nil && strings.TrimSpace(string(b)) == "0"
	}
	return nil
}

// open opens the program's group in the hierarchy of member, by the mount that serves best.
func (m *Manager) open(member membership, mounts []mount) (*hierarchy, error) {
	h := &hierarchy{names: member.controllers, unified: member.controllers == nil}
	candidates := slices.DeleteFunc(slices.Clone(mounts), func(c mount) bool {
		if c.unified || h.unified {
			return c.unified != h.unified
		}
		return slices.ContainsFunc(h.names, func(n string) bool { return !slices.Contains(c.options, n) })
	})
	if len(candidates) == 0 {
		return nil, fmt.Errorf("hierarchy %v is not mounted: %w", h, errors.ErrUnsupported)
	}
	// Writable before read-only; a whole hierarchy, which absolute paths need, before a part of one.
	slices.SortStableFunc(candidates, func(a, b mount) int { return a.rank() - b.rank() })
	var first error
	for _, c := range candidates {
		err := m.openAt(h, c, member.path)
		if err == nil {
			return h, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (c mount) rank() int {
	rank := 0
	if c.readOnly {
		rank += 2
	}
	if c.root != "/" {
		rank++
	}
	return rank
}

func (m *Manager) openAt(h *hierarchy, c mount, group string) error {
	if c.readOnly {
		return fmt.Errorf("hierarchy %v at %s is mounted read-only: %w", h, c.point, ErrNotDelegated)
	}
	rel, ok := below(c.root, group)
	if !ok {
		return fmt.Errorf("hierarchy %v at %s shows the groups below %s, the program is in %s: %w",
			h, c.point, c.root, group, errors.ErrUnsupported)
	}
	path := strings.Join(append([]string{strings.TrimSuffix(c.point, "/")}, rel...), "/")
	if path == "" {
		path = "/"
	}
	fd, err := openDir(unix.AT_FDCWD, path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || !m.anyFS && !h.isOn(&fs) {
		_ = unix.Close(fd)
		return fmt.Errorf("hierarchy %v: another file system hides it at %s: %w", h, c.point,
			errors.Join(err, errors.ErrUnsupported))
	}
	h.mount, h.own, h.path = c, fd, path
	if h.unified {
		h.available = m.topControllers(h)
	}
	return nil
}

func (h *hierarchy) isOn(fs *unix.Statfs_t) bool {
	if h.unified {
		return fs.Type == unix.CGROUP2_SUPER_MAGIC
	}
	return fs.Type == unix.CGROUP_SUPER_MAGIC
}

// topControllers returns the controllers that the topmost visible group of the unified hierarchy may hand down.
func (m *Manager) topControllers(h *hierarchy) []string {
	top, err := openDir(unix.AT_FDCWD, h.mount.point)
	if err != nil {
		return nil
	}
	defer unix.Close(top)
	b, err := readFile(top, "cgroup.controllers")
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// Mode returns the layout found.
func (m *Manager) Mode() Mode { return m.mode }

// Controllers returns the names of the controllers that can be used ("cpu", "memory", …), sorted.
func (m *Manager) Controllers() []string {
	var list []string
	for c := range m.controllers {
		if !strings.HasPrefix(c, "name=") {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	return list
}

// controller returns the hierarchy of a controller, or an error that says why there is none.
func (m *Manager) controller(name string) (*hierarchy, error) {
	if h := m.controllers[name]; h != nil {
		return h, nil
	}
	if err := m.absent[name]; err != nil {
		return nil, fmt.Errorf("controller %s: %w", name, err)
	}
	return nil, fmt.Errorf("controller %s is not in this %v layout: %w", name, m.mode, errors.ErrUnsupported)
}

func (m *Manager) step(name, path string) error {
	if m.hook == nil {
		return nil
	}
	return m.hook(name, path)
}

// Close releases the descriptors that the Manager holds. Groups that it made or opened go on working. It must not be
// called while Create or Open run, nor these after it.
func (m *Manager) Close() error {
	m.closing.Lock()
	defer m.closing.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	for _, h := range m.hierarchies {
		_ = unix.Close(h.own)
	}
	m.devices.close()
	return nil
}
