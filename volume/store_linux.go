package volume

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/namespace"
)

// A Store is a folder with volumes. It is safe for use by several goroutines, and the folder by several processes.
type Store struct{ docs durable.Folders }

const (
	lockName    = ".lock"
	tmpName     = ".tmp"
	metaName    = "volume.json"
	dataName    = "data"
	useName     = "use"
	maxMeta     = 128 << 10
	maxLabels   = 64 << 10
	lockTimeout = 30 * time.Second
)

// Open opens the store in the folder, which it makes if need be, and deletes what killed processes left half done.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open volumes: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, tmpName), 0o700); err != nil {
		return nil, fmt.Errorf("open volumes: %w", err)
	}
	s := &Store{durable.Folders{
		Dir: dir, Document: metaName, Max: maxMeta, Kind: "volume", Check: CheckName, NotFound: ErrNotFound, Exists: ErrExists,
	}}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("open volumes in %s: %w", dir, err)
	}
	return s, nil
}

// sweep deletes what is in .tmp and belongs to no running process, unless somebody is at work: then the next one does it.
func (s *Store) sweep() error {
	left, err := s.abandoned()
	for _, u := range left {
		err = errors.Join(err, u.Delete())
	}
	return err
}

// abandoned takes what killed processes left in .tmp. While the store's lock is held, no volume is made there, and those
// that others delete are locked.
func (s *Store) abandoned() (left []*Unlinked, err error) {
	l, held, err := durable.TryAcquire(s.path(lockName), true)
	if err != nil || held {
		return nil, err
	}
	defer l.Close()
	entries, err := os.ReadDir(s.path(tmpName))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		u := &Unlinked{name: e.Name(), path: s.path(tmpName, e.Name())}
		if u.lock, held, err = durable.TryAcquireDir(u.path); err == nil && !held {
			left = append(left, u)
			continue
		}
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) { // nothing that a store makes
			err = os.Remove(u.path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return left, err
		}
	}
	return left, nil
}

func (s *Store) path(names ...string) string { return s.docs.Path(names...) }

// lock takes the store's lock. It is held for moments only, so that waiting for it is bounded.
func (s *Store) lock(exclusive bool) (*durable.Lock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	return durable.Acquire(ctx, s.path(lockName), exclusive)
}

// Create makes an empty volume, and returns when it is on disk. With the name "" it gets a random one of 64 hexadecimal
// digits. The errors are ErrName and ErrExists, errors.ErrUnsupported for a size, and those of the file system.
func (s *Store) Create(name string, o *CreateOptions) (Volume, error) {
	return s.make(name, o, func(string) error { return nil })
}

// CreateFrom makes a volume with a copy of a folder of the host, as [Store.Populate] copies, and returns when it is on
// disk. Where the file system can (btrfs, xfs) the copy shares its blocks with the folder until one of them is written.
// What changes meanwhile may be copied as it was or as it is. ctx bounds the copying. The errors are those of Create.
func (s *Store) CreateFrom(ctx context.Context, name string, o *CreateOptions, dir string) (Volume, error) {
	if o != nil && o.Mount != nil {
		return Volume{}, fmt.Errorf("create volume %s: a copy into a volume of type %s: %w", name, o.Mount.Type, errors.ErrUnsupported)
	}
	return s.make(name, o, func(data string) error { return copyFolder(ctx, dir, data) })
}

// Clone makes a volume with a copy of another one's content, as [Store.CreateFrom] does, and with its labels and size
// unless o says otherwise. The errors are those of Create and of Get.
func (s *Store) Clone(ctx context.Context, from, name string, o *CreateOptions) (Volume, error) {
	use, err := s.Acquire(from)
	if err != nil {
		return Volume{}, err
	}
	defer use.Close()
	if o == nil {
		o = &CreateOptions{Labels: use.Volume.Labels, Size: use.Volume.Size}
		if use.Volume.Mount == nil {
			o.Options = use.Volume.Options
		}
	}
	dir, err := use.Volume.Folder()
	if err != nil {
		return Volume{}, err
	}
	return s.CreateFrom(ctx, name, o, dir)
}

// make makes a volume whose folder fill fills.
func (s *Store) make(name string, o *CreateOptions, fill func(data string) error) (Volume, error) {
	v := Volume{Name: name, Created: time.Now().UTC().Round(0)}
	if name == "" {
		v.Name, v.Anonymous = randomName(), true
	}
	if err := CheckName(v.Name); err != nil {
		return Volume{}, fmt.Errorf("create %w", err)
	}
	if o != nil {
		size := 0
		for _, m := range []map[string]string{o.Labels, o.Options} {
			for k, v := range m {
				size += len(k) + len(v)
			}
		}
		if size > maxLabels {
			return Volume{}, fmt.Errorf("create volume %s: labels and options of %d bytes are above the limit of %d", name, size, maxLabels)
		}
		if o.Size < 0 {
			return Volume{}, fmt.Errorf("create volume %s: size %d is below 0", name, o.Size)
		}
		if err := o.checkDriver(); err != nil {
			return Volume{}, fmt.Errorf("create volume %s: %w", name, err)
		}
		v.Labels, v.Options, v.Anonymous, v.Size, v.Mount = o.Labels, o.Options, v.Anonymous || o.Anonymous, o.Size, o.Mount
	}
	if err := s.create(v, fill); err != nil {
		return Volume{}, fmt.Errorf("create volume %s: %w", v.Name, err)
	}
	v.Path = s.pathOf(&v)
	return v, nil
}

func (s *Store) create(v Volume, fill func(data string) error) error {
	if _, err := os.Lstat(s.path(v.Name)); err == nil {
		return ErrExists // before much is copied
	}
	tmp := s.path(tmpName, randomName())
	owned, err := s.makeTemp(tmp)
	if err != nil {
		return err
	}
	err = s.prepare(v, tmp, fill)
	if err == nil {
		return s.publish(v, tmp, owned)
	}
	return errors.Join(err, deleteVolume(tmp), owned.Close())
}

func (s *Store) prepare(v Volume, tmp string, fill func(data string) error) error {
	data := filepath.Join(tmp, dataName)
	if err := os.Mkdir(data, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(data, 0o755); err != nil { // whatever the umask is
		return err
	}
	if v.Size > 0 {
		if err := s.limit(data, v.Size); err != nil {
			return fmt.Errorf("limit the size: %w", err)
		}
	}
	if err := fill(data); err != nil {
		return err
	}
	return durable.WriteJSON(filepath.Join(tmp, metaName), v, 0o600)
}

// publish gives a prepared volume its name, or deletes it.
func (s *Store) publish(v Volume, tmp string, owned *durable.Lock) error {
	l, err := s.lock(false) // nobody sweeps
	if err != nil {
		return errors.Join(err, deleteVolume(tmp), owned.Close())
	}
	defer l.Close()
	err = s.docs.Publish(tmp, v.Name)
	if err != nil {
		return errors.Join(err, deleteVolume(tmp), owned.Close())
	}
	return owned.Close()
}

// makeTemp makes a folder in .tmp, and locks it, which says that somebody is at work there.
func (s *Store) makeTemp(tmp string) (*durable.Lock, error) {
	l, err := s.lock(false) // nobody sweeps
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	owned, held, err := durable.TryAcquireDir(tmp)
	if err == nil && held {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(err, namespace.RemoveAll(tmp))
	}
	return owned, nil
}

// randomName returns 64 hexadecimal digits.
func randomName() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Get returns the volume with the name. The errors are ErrName and ErrNotFound, and those of the file system.
func (s *Store) Get(name string) (Volume, error) {
	if err := CheckName(name); err != nil {
		return Volume{}, err
	}
	v, err := s.read(name)
	if err != nil {
		return Volume{}, fmt.Errorf("volume %s: %w", name, err)
	}
	return v, nil
}

func (s *Store) read(name string) (Volume, error) {
	var v Volume
	if err := s.docs.Read(name, &v, &v.Name); err != nil {
		return Volume{}, err
	}
	if v.Mount != nil {
		if err := v.Mount.check(); err != nil {
			return Volume{}, fmt.Errorf("%s: %w", metaName, err)
		}
	}
	v.Path = s.pathOf(&v)
	return v, nil
}

// Planned is what Create would make under the name, without options.
func (s *Store) Planned(name string) Volume {
	return Volume{Name: name, Path: s.path(name, dataName)}
}

// Kept returns the folder of the store that has a volume's content and description, whether it is there or not. The content of one with
// a Mount is elsewhere.
func (s *Store) Kept(name string) string { return s.path(name) }

func (s *Store) pathOf(v *Volume) string {
	if v.Mount != nil && v.Mount.Type == "bind" {
		return v.Mount.Device
	}
	return s.path(v.Name, dataName)
}

// List returns all volumes by name. Volumes that cannot be read are left out and named by the error.
func (s *Store) List() ([]Volume, error) { return durable.ReadAll(&s.docs, s.read) }

// Check looks whether everything in the store is as it should be, and returns what is not.
func (s *Store) Check(ctx context.Context) error {
	entries, err := os.ReadDir(s.docs.Dir)
	if err != nil {
		return fmt.Errorf("check volumes: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		if err := CheckName(name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.path(name), err))
			continue
		}
		if _, err := s.read(name); err != nil {
			if !errors.Is(err, ErrNotFound) {
				errs = append(errs, fmt.Errorf("volume %s: %w", name, err))
			}
			continue
		}
		if st, err := os.Lstat(s.path(name, dataName)); err != nil {
			errs = append(errs, fmt.Errorf("volume %s: %w", name, err))
		} else if !st.IsDir() {
			errs = append(errs, fmt.Errorf("volume %s: %s is no folder", name, dataName))
		}
	}
	return errors.Join(errs...)
}
