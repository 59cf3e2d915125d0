package namespace

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// A Root is a root file system for a container: a plain folder ([Dir]), or a detached mount ([Detached]) such as
// layer.Mount returns. It is safe for use by several goroutines.
type Root struct {
	path  string
	mount *os.File
	close func() error

	user       *os.File // see SetUserNamespace
	uids, gids []IDMapping

	mu     sync.Mutex
	used   bool // a detached mount goes to one container
	closed bool
}

// Dir returns the Root that is the folder at path on the host, with what is mounted below it. It never fails: a
// folder that is not there is an error of the start. Any number of containers may use the Root at once; what one
// writes the others see, and it is written to the folder.
func Dir(path string) *Root { return &Root{path: path} }

// Detached returns the Root that is a detached mount: a descriptor made by fsmount(2), or by open_tree(2) with
// OPEN_TREE_CLONE. The Root owns the descriptor. name stands for it in messages. Close calls close, which may be nil,
// after it has closed the descriptor. One container can be started with a detached Root: the mount moves into it.
func Detached(mount *os.File, name string, close func() error) *Root {
	return &Root{path: name, mount: mount, close: close}
}

// String returns the folder's path, or the name of the detached mount.
func (r *Root) String() string { return r.path }

// Folder returns the folder's path, or "" for a detached mount, which has none.
func (r *Root) Folder() string {
	if r.mount != nil {
		return ""
	}
	return r.path
}

// ErrRootUsed is returned when a second container is started with a detached Root, or when the Root was closed.
var ErrRootUsed = errors.New("root file system is in use or closed")

// Close releases what the Root holds. A container that runs keeps its mount. For a folder it does nothing. A second
// Close does nothing.
func (r *Root) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	var err error
	if r.mount != nil {
		err = r.mount.Close()
	}
	if r.close != nil {
		err = errors.Join(err, r.close())
	}
	if r.user != nil {
		err = errors.Join(err, r.user.Close())
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", r.path, err)
	}
	return nil
}

// SetUserNamespace says in which user namespace the root was mounted: a container of an ordinary user lives in that one, since
// elsewhere set-user-ID files have no effect. The maps are the namespace's. The Root owns the file.
func (r *Root) SetUserNamespace(user *os.File, uids, gids []IDMapping) {
	r.user, r.uids, r.gids = user, uids, gids
}

// UserNamespace is what SetUserNamespace has set. The file belongs to the Root; it is nil if there is none.
func (r *Root) UserNamespace() (user *os.File, uids, gids []IDMapping) {
	return r.user, r.uids, r.gids
}
