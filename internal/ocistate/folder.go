package ocistate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/plainjson"
)

// The files of a Folder.
const (
	StateFile  = "state.json"
	FIFO       = "exec.fifo"
	GroupsFile = "groups.json"
	ConfigFile = "config.json"
	EarlyFile  = "early" // see cmd/minirunc
)

// A Folder is the folder of a container that this program has locked.
type Folder struct {
	ID   string
	path string
	lock *durable.Lock
}

// Path returns the folder's path, or that of a file in it.
func (f *Folder) Path(file ...string) string {
	return filepath.Join(append([]string{f.path}, file...)...)
}

// current says whether the folder that is locked is the one at its path.
func (f *Folder) current() bool {
	mine, err := f.lock.File().Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(f.path)
	return err == nil && os.SameFile(mine, there)
}

// Release gives the lock back for a while: see Relock.
func (f *Folder) Release() error { return f.lock.Release() }

// Relock takes the lock again after Release, and waits for it as Lock does. The error is ErrNotExist if the container was
// deleted meanwhile, whether there is another one of its id or not. After any error the Folder is closed.
func (f *Folder) Relock(patience time.Duration) error {
	for {
		held, err := f.lock.TryAgain()
		switch {
		case err != nil:
		case held:
			if err = wait(f.ID, &patience); err == nil {
				continue
			}
		case f.current():
			return nil
		default:
			err = ErrNotExist
		}
		_ = f.lock.Close()
		return err
	}
}

// Close gives the lock back; the container stays as it is.
func (f *Folder) Close() error { return f.lock.Close() }

// Load reads the container's state. The error is ErrNotExist if it was not made to the end.
func (f *Folder) Load() (*State, error) { return load(f.path) }

// Save writes the state: the old one or the new one is there at any time. (It need not outlast a loss of power: no
// container does.)
func (f *Folder) Save(s *State) error {
	p, err := f.Prepare(s)
	if err != nil {
		return err
	}
	return p.Commit()
}

// Prepare writes the state, but so that nobody sees it before Commit.
func (f *Folder) Prepare(s *State) (*Pending, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write state: %w", err)
	}
	return f.prepare(StateFile, b)
}

// A Pending is a file that is written and has not got its name yet.
type Pending struct{ tmp, path string }

func (f *Folder) prepare(name string, data []byte) (*Pending, error) {
	p := &Pending{tmp: f.Path(".tmp-" + name), path: f.Path(name)} // nobody else has the lock
	if err := writeFile(p.tmp, data); err != nil {
		_ = os.Remove(p.tmp)
		return nil, fmt.Errorf("write %s: %w", p.path, err)
	}
	return p, nil
}

// Commit gives the file its name, in the place of one that has it.
func (p *Pending) Commit() error {
	if err := syscall.Rename(p.tmp, p.path); err != nil { // os.Rename would look first
		_ = os.Remove(p.tmp)
		return fmt.Errorf("write %s: %w", p.path, err)
	}
	return nil
}

// WriteFile replaces a file of the folder.
func (f *Folder) WriteFile(name string, data []byte) error {
	p, err := f.prepare(name, data)
	if err != nil {
		return err
	}
	return p.Commit()
}

// NoteGroup notes the directories of a control group before it is made, as cgroups.Manager.Directories tells them: by these
// what a command that was killed has made is removed.
func (f *Folder) NoteGroup(dirs []string) error {
	b, err := json.Marshal(dirs)
	if err != nil {
		return fmt.Errorf("note control group: %w", err)
	}
	return f.WriteFile(GroupsFile, b)
}

// ForgetGroup undoes NoteGroup, if there was one.
func (f *Folder) ForgetGroup() error {
	err := os.Remove(f.Path(GroupsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Groups returns the directories that NoteGroup noted, or none.
func (f *Folder) Groups() ([]string, error) {
	b, err := readFile(f.Path(GroupsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var dirs []string
	if err := plainjson.Unmarshal(b, &dirs); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(GroupsFile), err)
	}
	return dirs, nil
}

// Remove deletes the folder, the state first, so that a half deleted container is a half made one, and gives the lock back.
// The control group is to be gone: what Groups tells is lost.
func (f *Folder) Remove() error {
	err := os.Remove(f.Path(StateFile))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		for _, name := range []string{ConfigFile, GroupsFile, EarlyFile} { // mostly that is all, and RemoveAll would look first
			_ = syscall.Unlink(f.Path(name))
		}
		if err = syscall.Rmdir(f.path); err != nil {
			err = os.RemoveAll(f.path)
		}
	}
	return errors.Join(err, f.lock.Close())
}

// maxFile bounds what is read of a file in a state folder.
const maxFile = 16 << 20

func load(dir string) (*State, error) {
	b, err := readFile(filepath.Join(dir, StateFile))
	if err != nil {
		if _, e := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || e != nil && errors.Is(e, fs.ErrNotExist) {
			return nil, ErrNotExist
		}
		return nil, err
	}
	return parse(b, dir)
}

// parse reads state.json of the folder dir.
func parse(b []byte, dir string) (*State, error) {
	s := &State{}
	if err := plainjson.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, StateFile), err)
	}
	s.dir = dir
	s.complete()
	return s, nil
}
