package namespace

import (
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// controlFiles are the control files that a control group may have or not.
type controlFiles struct {
	kill    bool // cgroup.kill: cgroup v2, Linux ≥ 5.14
	freezer bool // freezer.state: cgroup v1's hierarchy freezer
}

// maxKnownFiles bounds knownFiles. Groups are below few others.
const maxKnownFiles = 256

// knownFiles are the answers of groupFiles, by the folder above: all groups there have the same files.
var knownFiles = struct {
	sync.Mutex
	below map[string]controlFiles
}{below: make(map[string]controlFiles)}

// Foreseen says whether Register can be called before the folders are made: it is known which files of a control group they
// will have, since there were others beside them.
func (w *Ward) Foreseen() bool {
	knownFiles.Lock()
	defer knownFiles.Unlock()
	for _, f := range w.Folders {
		if _, known := knownFiles.below[path.Dir(f)]; !known {
			return false
		}
	}
	return true
}

// groupFiles says which files the control group at a path has.
func groupFiles(dir string) controlFiles {
	above := path.Dir(dir)
	knownFiles.Lock()
	has, known := knownFiles.below[above]
	knownFiles.Unlock()
	if known {
		return has
	}
	has = controlFiles{
		kill:    unix.Access(dir+"/cgroup.kill", unix.W_OK) == nil,
		freezer: unix.Access(dir+"/freezer.state", unix.W_OK) == nil,
	}
	if unix.Access(dir, unix.F_OK) != nil {
		return has // nor is there a group to ask
	}
	knownFiles.Lock()
	defer knownFiles.Unlock()
	if len(knownFiles.below) >= maxKnownFiles {
		clear(knownFiles.below)
	}
	knownFiles.below[above] = has
	return has
}
