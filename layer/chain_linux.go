package layer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/durable"
)

// A tar stream need not have entries for the folders that its files are in. Such a folder is made with a default owner
// and mode, and in an overlay it would hide those that a lower layer gives it: a layer that adds tmp/x would make /tmp
// 0755. A chain is what sets that right for a list of layers: a folder with nothing but the folders in question, that
// goes on top of them. It is made by the first mount of the list and kept, under the digest of the list:
//
//	chains/<hex>/fs      the folders; missing when nothing needs to be set right
//	chains/<hex>/layers  the diffIDs, the topmost first, a line each
const (
	chainsName = "chains"
	layersName = "layers"
)

// chain returns the folder that goes on top of the layers, the topmost first; "" for none. With noKeep it makes none.
func chain(ctx context.Context, layers []Layer, noKeep bool) (string, error) {
	if len(layers) < 2 || layers[0].scratch == "" {
		return "", nil
	}
	store := layers[0].scratch
	var list strings.Builder
	for _, l := range layers {
		if l.scratch != store { // not of the store, which knows nothing of its folders
			return "", nil
		}
		list.WriteString(l.DiffID.String() + "\n")
	}
	sum := sha256.Sum256([]byte(list.String()))
	dir := filepath.Join(store, chainsName, hex.EncodeToString(sum[:]))
	content := filepath.Join(dir, contentName)
	for try := 0; ; try++ {
		if _, err := os.Lstat(content); err == nil {
			return content, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if _, err := os.Lstat(dir); err == nil {
			return "", nil
		} else if !errors.Is(err, os.ErrNotExist) || try > 0 {
			return "", err
		}
		if noKeep {
			return "", nil
		}
		if err := makeChain(ctx, layers, list.String(), dir); err != nil {
			return "", fmt.Errorf("restore folders of lower layers: %w", err)
		}
	}
}

func makeChain(ctx context.Context, layers []Layer, list, dir string) (err error) {
	t, err := newTemp(ctx, layers[0].scratch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.remove()) }()
	c := &chainMaker{layers: make([]chainLayer, 0, len(layers)), made: map[string]struct{}{}, owners: newOwners(ctx)}
	defer c.close()
	for _, l := range layers {
		if err := c.add(l); err != nil {
			return err
		}
	}
	if err := c.write(filepath.Join(t.path, contentName)); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(t.path, layersName), []byte(list), 0o600); err != nil {
		return err
	}
	if err := os.Rename(t.path, dir); err == nil {
		err = t.lock.Close()
		t.lock = nil
		return errors.Join(err, durable.SyncDir(filepath.Dir(dir)))
	} else if !errors.Is(err, os.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) { // else another was faster
		return err
	}
	return nil
}

// unlinkChains takes the chains that a layer is part of out of the store.
func (s *Store) unlinkChains(ctx context.Context, diffID string, u *Unlinked) error {
	dir := filepath.Join(s.dir, chainsName)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		list, err := readLimited(filepath.Join(path, layersName), maxLayers*256)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Split(string(list), "\n"), diffID) {
			continue
		}
		t, err := newTemp(ctx, s.dir)
		if err != nil {
			return err
		}
		u.temps = append(u.temps, t)
		if err = os.Rename(path, filepath.Join(t.path, "removed")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// A chainLayer is a layer as a chainMaker looks at it.
type chainLayer struct {
	owners  *owners
	fd      int
	implied map[string]struct{}
}

// A chainMaker finds the folders that hide what they should not, and makes them anew.
type chainMaker struct {
	layers []chainLayer // the topmost first
	root   string
	made   map[string]struct{}
	order  []string
	owners *owners
}

func (c *chainMaker) close() {
	_ = c.owners.close()
	for _, l := range c.layers {
		_ = unix.Close(l.fd)
	}
}

func (c *chainMaker) add(l Layer) error {
	implied := map[string]struct{}{}
	data, err := readLimited(l.implied, maxImplied)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for path := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		if len(data) > 0 {
			implied[path] = struct{}{}
		}
	}
	fd, err := l.open(c.owners)
	if err != nil {
		return err
	}
	c.layers = append(c.layers, chainLayer{c.owners, fd, implied})
	return nil
}

// write makes the folders below root; nothing when there is nothing to do.
func (c *chainMaker) write(root string) error {
	c.root = root
	seen := map[string]struct{}{}
	for _, l := range c.layers[:len(c.layers)-1] {
		for path := range l.implied {
			if _, ok := seen[path]; ok {
				continue
			}
			seen[path] = struct{}{}
			top, owner, err := c.find(path)
			if err != nil {
				return err
			}
			if owner == nil || top.same(owner) {
				continue
			}
			if err := c.makeFolder(path); err != nil {
				return err
			}
		}
	}
	// What is made in a folder changes its time: the deepest first.
	for _, path := range slices.Backward(c.order) {
		if err := c.restore(path); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes a folder and those it is in. The layers have them as folders.
func (c *chainMaker) makeFolder(path string) error {
	if _, ok := c.made[path]; ok {
		return nil
	}
	if path != "" {
		parent, _ := splitName(path)
		if err := c.makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(c.root, path), 0o700); err != nil {
		return err
	}
	c.made[path] = struct{}{}
	c.order = append(c.order, path)
	return nil
}

// restore gives a folder the owner, mode, attributes and times that it would have if no layer implied it.
func (c *chainMaker) restore(path string) error {
	top, owner, err := c.find(path)
	if err != nil {
		return err
	}
	from := owner
	if from == nil {
		from = top
	}
	if from == nil {
		return fmt.Errorf("%q: %w", path, unix.ENOENT)
	}
	fd, err := unix.Open(filepath.Join(c.root, path), openDir, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	uid, gid := c.owners.container(&from.st, from.xattrs)
	changed, err := c.owners.chown(fd, &st, uid, gid)
	if err != nil {
		return err
	}
	if err := c.owners.chmod(fd, from.st.Mode&0o7777, changed); err != nil {
		return err
	}
	for name, value := range from.xattrs {
		if err := c.owners.setxattr(fd, name, value); err != nil {
			return err
		}
	}
	if err := c.owners.utimes(fd, &[2]unix.Timespec{from.st.Atim, from.st.Mtim}); err != nil {
		return err
	}
	return unix.Fsync(fd)
}
