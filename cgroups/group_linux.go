package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A Group is a group of processes: one directory in each hierarchy. It holds their descriptors until Close. It is safe
// for use by several goroutines.
type Group struct {
	m     *Manager
	name  string
	nodes []*node

	updating sync.Mutex

	watching sync.Mutex
	watches  map[*Watch]bool

	mu     sync.RWMutex // held for reading by what uses descriptors of nodes
	tasks  []*os.File
	dir    *os.File
	closed bool
}

// A node is a group's directory in one hierarchy.
type node struct {
	m    *Manager
	h    *hierarchy
	dir  int
	path string

	resting sync.Mutex // held by what may open dir again
	inode   uint64     // of the directory, when dir was closed to save descriptors; else 0

	leaf  string   // the directory to be removed: path, or what a Create that failed has made
	above []string // the directories between it and where names began, the topmost first
}

// newGroup returns a group without directories, to be closed.
func (m *Manager) newGroup(name string) *Group {
	m.groups.Add(1)
	return &Group{m: m, name: name}
}

// Open opens the group at path, which is read as Create reads it, in each hierarchy where it is. The error satisfies
// fs.ErrNotExist if it is in none.
func (m *Manager) Open(path string) (*Group, error) {
	names, absolute, err := splitPath(path)
	if err != nil {
		return nil, err
	}
	g := m.newGroup(path)
	for _, h := range m.hierarchies {
		n, err := m.openNode(&place{m: m, h: h, names: names, absolute: absolute})
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			_ = g.Close()
			return nil, fmt.Errorf("open group %s: %w", path, err)
		}
		g.nodes = append(g.nodes, n)
	}
	if len(g.nodes) == 0 {
		_ = g.Close()
		return nil, fmt.Errorf("open group %s: %w", path, fs.ErrNotExist)
	}
	return g, nil
}

func (m *Manager) openNode(p *place) (*node, error) {
	dir, names, err := p.base()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		next, err := openDir(dir, name)
		_ = unix.Close(dir)
		p.path = strings.TrimSuffix(p.path, "/") + "/" + name
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", p.path, err)
		}
		dir = next
	}
	return &node{m: m, h: p.h, dir: dir, path: p.path, leaf: p.path}, nil
}

// Name returns the path that the group was created or opened with.
func (g *Group) Name() string { return g.name }

// Paths returns the directories of the group, and those above it that are to be removed with the last group below
// them, on the host's file system. Each comes after those below it, so that removing them in order works.
func (g *Group) Paths() []string {
	var list []string
	for _, n := range g.nodes {
		list = append(list, n.leaf)
		for _, path := range slices.Backward(n.above) {
			if g.m.between.has(path) {
				list = append(list, path)
			}
		}
	}
	return list
}

// Dir returns the descriptor of the group's directory for clone3(2) with CLONE_INTO_CGROUP (Linux ≥ 5.7), in Go
// SysProcAttr.CgroupFD. ok is false on v1 and hybrid hosts, where it would place the process in one hierarchy only.
// The group owns the file.
func (g *Group) Dir() (f *os.File, ok bool) {
	if g.m.mode != V2 {
		return nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, false
	}
	if g.dir == nil {
		fd, err := g.nodes[0].duplicate()
		if err != nil {
			return nil, false
		}
		g.dir = os.NewFile(uintptr(fd), g.nodes[0].path)
	}
	return g.dir, true
}

// Tasks returns files, open for writing, by which a process without threads joins the group: it writes "0" to each,
// itself. They are the tasks file of each v1 hierarchy, since writing that does not wait for a grace period as
// cgroup.procs does, and cgroup.procs of the unified one. The group owns the files. On v2 use [Group.Dir]; Tasks works
// too.
func (g *Group) Tasks() ([]*os.File, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, g.errClosed("tasks")
	}
	if g.tasks != nil {
		return slices.Clone(g.tasks), nil
	}
	files := make([]*os.File, 0, len(g.nodes))
	for _, n := range g.nodes {
		name := "tasks"
		if n.h.unified {
			name = "cgroup.procs"
		}
		fd, err := openat(n.fd(), name, unix.O_WRONLY)
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
			return nil, fmt.Errorf("open %s/%s: %w", n.path, name, err)
		}
		files = append(files, os.NewFile(uintptr(fd), n.path+"/"+name))
	}
	g.tasks = files
	return slices.Clone(files), nil
}

// Entry returns the quickest way in for a process that is being made: the directory in which clone3(2) with
// CLONE_INTO_CGROUP (Linux ≥ 5.7) makes it, nil without a unified hierarchy, and the tasks files of the v1 hierarchies,
// as Tasks has them. (On a hybrid host a write to the unified hierarchy's cgroup.procs would wait for a grace period.) The
// group owns the files.
func (g *Group) Entry() (dir *os.File, tasks []*os.File, err error) {
	if dir, ok := g.Dir(); ok {
		return dir, nil, nil
	}
	if tasks, err = g.Tasks(); err != nil {
		return nil, nil, err
	}
	n := g.unified()
	if n == nil {
		return nil, tasks, nil
	}
	tasks = slices.DeleteFunc(tasks, func(f *os.File) bool { return f.Name() == n.path+"/cgroup.procs" })
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dir == nil {
		fd, err := n.duplicate()
		if err != nil {
			return nil, nil, fmt.Errorf("open %s: %w", n.path, err)
		}
		g.dir = os.NewFile(uintptr(fd), n.path)
	}
	return g.dir, tasks, nil
}

// restAbove is the number of groups above which a Manager's groups hold no descriptors while they are not used. What a
// program has open is copied and looked through at each start of a process.
const restAbove = 64

// CloseTasks closes the files that Tasks, Dir and Entry returned, to save descriptors. They are opened again when they are
// needed; so are those of the group's directories, which it closes if the Manager has more than 64 groups.
func (g *Group) CloseTasks() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closeFiles()
	if g.closed || g.m.groups.Load() <= restAbove {
		return
	}
	for _, n := range g.nodes {
		n.rest()
	}
}

func (g *Group) closeFiles() {
	for _, f := range g.tasks {
		_ = f.Close()
	}
	g.tasks = nil
	if g.dir != nil {
		_ = g.dir.Close()
	}
	g.dir = nil
}

// rest closes the node's descriptor until it is used.
func (n *node) rest() {
	n.resting.Lock()
	defer n.resting.Unlock()
	var st unix.Stat_t
	if n.dir < 0 || unix.Fstat(n.dir, &st) != nil {
		return
	}
	n.inode = st.Ino
	_ = unix.Close(n.dir)
	n.dir = -1
}

// dirGone stands for a directory that is not there any more: what is opened in it is not there either.
const dirGone = -1000

// duplicate returns a second descriptor of the directory.
func (n *node) duplicate() (int, error) {
	dir := n.fd()
	if dir == dirGone {
		return -1, unix.ENOENT
	}
	return retry(func() (int, error) { return unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0) })
}

// fd is the node's descriptor, opened again if it rests. The caller holds Group.mu.
func (n *node) fd() int {
	n.resting.Lock()
	defer n.resting.Unlock()
	if n.inode == 0 {
		return n.dir
	}
	dir, err := openDir(unix.AT_FDCWD, n.path)
	if err != nil {
		return dirGone
	}
	var st unix.Stat_t
	if unix.Fstat(dir, &st) != nil || st.Ino != n.inode { // another group of the same name
		_ = unix.Close(dir)
		return dirGone
	}
	n.dir, n.inode = dir, 0
	return dir
}

// Add moves the process pid with all its threads into the group. On v1 that waits for a grace period in each
// hierarchy, some 10 ms; a process that is to start in the group does better with Dir or Tasks.
func (g *Group) Add(pid int) error {
	if err := g.acquire("add to"); err != nil {
		return err
	}
	defer g.mu.RUnlock()
	if pid <= 0 {
		return fmt.Errorf("add process %d to group %s: %w", pid, g.name, os.ErrProcessDone)
	}
	for _, n := range g.nodes {
		err := g.m.step("add", n.path)
		if err == nil {
			err = writeFile(n.fd(), "cgroup.procs", itoa(int64(pid)))
		}
		if err != nil {
			return fmt.Errorf("add process %d to %s: %w", pid, n.path, adviseAdd(n, err))
		}
	}
	return nil
}

func adviseAdd(n *node, err error) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return os.ErrProcessDone
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w (the group hands controllers down, so it cannot have processes of its own)", err)
	case errors.Is(err, unix.ENOSPC) && n.h.has("cpuset"):
		return fmt.Errorf("%w (cpuset.cpus or cpuset.mems is empty)", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w (cgroup.procs of a group above both must be writable too)", err, ErrNotDelegated)
	}
	return err
}

// node returns the group's directory for a controller, or an error that says why there is none.
func (g *Group) node(controller string) (*node, error) {
	h, err := g.m.controller(controller)
	if err != nil {
		return nil, err
	}
	if n := g.in(h); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("group %s is not in hierarchy %v: %w", g.name, h, fs.ErrNotExist)
}

// in returns the group's directory in a hierarchy, nil if there is none.
func (g *Group) in(h *hierarchy) *node {
	for _, n := range g.nodes {
		if n.h == h {
			return n
		}
	}
	return nil
}

// unified returns the directory in the unified hierarchy, nil if there is none.
func (g *Group) unified() *node {
	if g.m.unified == nil {
		return nil
	}
	return g.in(g.m.unified)
}

// acquire locks the group against Close, if it is not closed; the caller is to release it by g.mu.RUnlock.
func (g *Group) acquire(verb string) error {
	g.mu.RLock()
	if g.closed {
		g.mu.RUnlock()
		return g.errClosed(verb)
	}
	return nil
}

func (g *Group) errClosed(verb string) error {
	return fmt.Errorf("%s group %s: %w", verb, g.name, os.ErrClosed)
}

// Close releases the descriptors, those of Tasks and Dir included, after calls that use them have returned. The group
// itself stays: see Remove. After Close, only Name, Paths and Remove can be used. A second Close does nothing.
func (g *Group) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.m.groups.Add(-1)
	g.endWatches()
	g.closeFiles()
	for _, n := range g.nodes {
		n.close()
	}
	return nil
}

func (n *node) close() {
	n.resting.Lock()
	defer n.resting.Unlock()
	n.inode = 0
	if n.dir >= 0 {
		_ = unix.Close(n.dir)
		n.dir = -1
	}
}
