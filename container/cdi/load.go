package cdi

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// The folders in which files are by default; a device in a later folder takes the place of one in an earlier.
const (
	Dir        = "/etc/cdi"
	DynamicDir = "/var/run/cdi"
)

// Devices are those that the host describes.
type Devices struct {
	devices  map[string]found
	problems []error
}

// found is a device, and where.
type found struct {
	path   string
	file   *File
	device *Device
	err    error  // it is there twice
	writer string // who else than root and the program's user may change the file; "" is nobody
}

// Load reads the files of the folders, or of [Dir] and [DynamicDir] if none are given: those whose names end in .json or .yaml. A folder
// that is not there has none; one that cannot be read is an error. A file that cannot be read, or is wrong, leaves its devices out and the others as they are: see
// [Devices.Problems].
func Load(dirs ...string) (*Devices, error) {
	if len(dirs) == 0 {
		dirs = []string{Dir, DynamicDir}
	}
	all := &Devices{devices: make(map[string]found)}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("load CDI devices: %w", err)
		}
		here := make(map[string]found)
		for _, e := range entries {
			parse := ParseJSON
			switch filepath.Ext(e.Name()) {
			case ".json":
			case ".yaml":
				parse = ParseYAML
			default:
				continue
			}
			name := filepath.Join(dir, e.Name())
			if e.IsDir() {
				continue
			}
			if err := load(name, parse, here); err != nil {
				all.problems = append(all.problems, fmt.Errorf("%s: %w", name, err))
			}
		}
		maps.Copy(all.devices, here)
	}
	for _, name := range all.Names() {
		if err := all.devices[name].err; err != nil {
			all.problems = append(all.problems, err)
		}
	}
	return all, nil
}

// load reads a file and adds its devices to those of its folder.
func load(name string, parse func([]byte) (*File, error), here map[string]found) error {
	b, writer, err := read(name)
	if err != nil {
		return err
	}
	f, err := parse(b)
	if err != nil {
		return err
	}
	for i := range f.Devices {
		full := f.Kind + "=" + f.Devices[i].Name
		d := found{path: name, file: f, device: &f.Devices[i], writer: writer}
		if other, twice := here[full]; twice {
			d.err = fmt.Errorf("CDI device %s: %w: both %s and %s describe it", full, fs.ErrExist, other.path, name)
		}
		here[full] = d
	}
	return nil
}

var errNotRegular = errors.New("it is not a regular file")

// read reads a regular file, by a symbolic link too, and says who else may write it. Neither a pipe nor a device is opened, or waited for.
func read(name string) (b []byte, writer string, err error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, "", err
	}
	if !st.Mode().IsRegular() {
		return nil, "", errNotRegular
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	if st, err = f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, "", errors.Join(errNotRegular, err)
	}
	folder, err := os.Stat(filepath.Dir(name))
	if err != nil {
		return nil, "", err
	}
	if writer = otherWriter(name, st); writer == "" {
		writer = otherWriter(filepath.Dir(name), folder)
	}
	b, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	return b, writer, err
}

// otherWriter says who may write a file but root and the program's user: "" is nobody.
func otherWriter(name string, st fs.FileInfo) string {
	uid, ok := owner(st)
	switch {
	case ok && uid != 0 && uid != os.Geteuid():
		return fmt.Sprintf("%s belongs to the user %d", name, uid)
	case ok && st.Mode().Perm()&0o022 != 0 && st.Mode()&fs.ModeSticky == 0:
		return fmt.Sprintf("%s may be written by others (its mode is %v)", name, st.Mode())
	}
	return ""
}

// Names returns the names of the devices, "vendor.com/class=name", sorted.
func (d *Devices) Names() []string { return slices.Sorted(maps.Keys(d.devices)) }

// Problems returns what is wrong with the folders' files: an error each for those that were not read, and for devices that two files of one
// folder describe, which cannot be had. They name the file.
func (d *Devices) Problems() []error { return slices.Clone(d.problems) }

// Find returns a device by its name, and the file that describes it. Neither is to be changed. The error satisfies fs.ErrNotExist if there is none, and
// fs.ErrExist if two files of one folder describe it.
func (d *Devices) Find(name string) (*Device, *File, error) {
	f, ok := d.devices[name]
	switch {
	case !ok && len(d.problems) > 0:
		return nil, nil, fmt.Errorf("CDI device %s: %w (and not all files could be used: %v)", name, fs.ErrNotExist, d.problems)
	case !ok:
		return nil, nil, fmt.Errorf("CDI device %s: %w", name, fs.ErrNotExist)
	}
	return f.device, f.file, f.err
}
