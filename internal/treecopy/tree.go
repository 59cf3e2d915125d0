package treecopy

import (
	"io/fs"
	"os"
	"time"
)

// A Tree is what is read, or made: an [os.Root], or what [By] returns. No name leads out of it.
type Tree interface {
	Lstat(name string) (fs.FileInfo, error)
	Readlink(name string) (string, error)
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Mkdir(name string, perm fs.FileMode) error
	MkdirAll(name string, perm fs.FileMode) error
	Symlink(target, name string) error
	Link(target, name string) error
	Remove(name string) error
	Lchown(name string, uid, gid int) error
	Chtimes(name string, accessed, modified time.Time) error
}

// A changer is a Tree whose files are not this program's to change, or to open anew.
type changer interface {
	chown(f *os.File, uid, gid int) error
	chmod(f *os.File, mode fs.FileMode) error
	openSame(name string, st fs.FileInfo, flag int) (*os.File, error)
}

// files are those of a tree that are this program's.
type files struct{ Tree }

func (files) chown(f *os.File, uid, gid int) error     { return f.Chown(uid, gid) }
func (files) chmod(f *os.File, mode fs.FileMode) error { return f.Chmod(mode) }

func changerOf(t Tree) changer {
	if c, ok := t.(changer); ok {
		return c
	}
	return files{t}
}

// A Caller makes system calls for this program, in whose place it may do more: a *namespace.Deputy.
type Caller interface {
	Call(nr int, args ...any) (int, error)
	Open(name string, nr int, args ...any) (*os.File, error)
}
