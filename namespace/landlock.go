package namespace

import (
	"fmt"
	"path"
	"strings"
)

// Landlock restricts a process and its children for good by landlock(7): what is not allowed here is denied, even to root
// with all capabilities. It restricts what is opened from then on: descriptors that the process starts with (standard input
// and output, ExtraFiles, a TTY) can be used whatever the rules say. The zero value allows no file at all, so that nothing
// can be executed; at the least the command and what it is linked with must be among Files.
//
// The kernel learnt it in steps, the ABI versions: files in Linux 5.13, truncation in 6.2 (before, a file that is open for
// nothing can be truncated by its path), TCP ports in 6.7, ioctl(2) on devices in 6.10, scopes in 6.12. What the kernel
// cannot restrict is an error that satisfies errors.ErrUnsupported and says so, unless BestEffort is set.
//
// Mounting, and moving files between folders with different rights, is denied to a process with restricted files.
// With [Launch.NewPrivileges] set-user-ID programs are restricted as well.
type Landlock struct {
	// Files may be used, with all below them; what several entries allow adds up. What is not below one is denied.
	Files []LandlockFiles
	// AnyFile does not restrict files. Files is empty then.
	AnyFile bool
	// Bind and Connect are the TCP ports that sockets may be bound to and connected to. 0 in Bind stands for a port that the
	// kernel chooses. Others are denied. UDP is not restricted.
	Bind, Connect []uint16
	// AnyPort does not restrict TCP ports. Bind and Connect are empty then.
	AnyPort bool
	// Unscoped lets the process connect to abstract unix(7) sockets of, and send signals to, processes that it did not start;
	// its namespaces may keep it from that still.
	Unscoped bool
	// BestEffort restricts what the kernel can restrict, and leaves out the rest: all of it, if it has no Landlock.
	BestEffort bool
}

// LandlockFiles are files and folders of the container and what may be done with them.
type LandlockFiles struct {
	// Path is absolute. A folder stands for all below it too. Symbolic links are followed, in the container.
	Path string
	// Access is what is allowed.
	Access LandlockAccess
	// Optional passes over a Path that does not exist. By default that is an error.
	Optional bool
}

// LandlockAccess are rights on files.
type LandlockAccess uint8

// The rights.
const (
	// LandlockRead opens files for reading and lists folders.
	LandlockRead LandlockAccess = 1 << iota
	// LandlockWrite opens files for writing, truncates them, and makes, renames, links and removes files, folders, sockets
	// and device nodes.
	LandlockWrite
	// LandlockExecute executes files. The dynamic linker of a program is executed; its libraries are only read.
	LandlockExecute
	// LandlockIoctl calls ioctl(2) on devices that are opened.
	LandlockIoctl
)

const landlockAll = LandlockRead | LandlockWrite | LandlockExecute | LandlockIoctl

// maxLandlockRules bounds the rules: each one is some steps of the launch.
const maxLandlockRules = 1024

func (l *Landlock) check(bad badField) error {
	if l == nil {
		return nil
	}
	if l.AnyFile && len(l.Files) > 0 {
		return bad("Landlock.Files", "they are restricted, but AnyFile is set")
	}
	if l.AnyPort && len(l.Bind)+len(l.Connect) > 0 {
		return bad("Landlock.Bind", "ports are restricted, but AnyPort is set")
	}
	if l.AnyFile && l.AnyPort && l.Unscoped {
		return bad("Landlock", "it restricts nothing: leave it nil")
	}
	if len(l.Files)+len(l.Bind)+len(l.Connect) > maxLandlockRules {
		return bad("Landlock", "more than %d rules", maxLandlockRules)
	}
	for i, f := range l.Files {
		field := fmt.Sprintf("Landlock.Files[%d]", i)
		switch {
		case !path.IsAbs(f.Path) || strings.IndexByte(f.Path, 0) >= 0:
			return bad(field+".Path", "%q is not an absolute path", f.Path)
		case f.Access == 0 || f.Access&^landlockAll != 0:
			return bad(field+".Access", "%#x holds no right, or others than those there are", uint8(f.Access))
		}
	}
	return nil
}
