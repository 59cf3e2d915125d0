package namespace

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// A Keep detaches a process from the program that starts it: the process is the child of a keeper, a stub of some 20 KB
// that outlives the program, writes what the process prints to a log and how it ended to a file, and then ends. Whoever
// opens the folder later, by [Adopt], finds the process running or ended.
//
// The keeper is the first process of a PID namespace around the process's own: if it is killed the kernel kills all
// processes of the container. With the PID namespace of the host, or another one that is joined, that cannot be; they live on. The keeper itself is
// never in a namespace that is joined: the process's parent is out of sight there.
type Keep struct {
	// Dir is a folder of the process's own, where the keeper has its files. It must exist, hold no files of a keeper but the log that
	// ContinueLog leaves, and be closed to others.
	Dir string
	// Stdin keeps the process's standard input open, for [Process.Input]. By default it is /dev/null. With
	// Launch.TTY the terminal is the input.
	Stdin bool
	// LogSize is how many bytes the log may have before it is renamed to log.1, which takes the place of an older one;
	// rounded up to a power of two. Zero means 16 MiB; from 64 KiB to 1 TiB
	// otherwise.
	LogSize int64
	// NoLog throws away what the process prints: the log is empty. Who attaches gets nothing either.
	NoLog bool
	// Hold are files that the keeper has open as long as it lives: locks (flock), which end with their last descriptor.
	Hold []*os.File
	// CgroupDir and CgroupTasks are control groups that the keeper joins, as those of the same names in [Launch] are for
	// the process. By default it is in those of the program that starts it.
	CgroupDir   *os.File
	CgroupTasks []*os.File
	// AtEnd, if it is not nil, is read when the process has ended: what it says from its beginning on, at most 4 KiB of it, is kept
	// in the folder as the file [AtEndFile], as far as there is room on the disk. It may be a file of a control group that is gone
	// when somebody hears of the end.
	AtEnd *os.File
}

// AtEndFile is, in the folder of a Keep, what its AtEnd said.
const AtEndFile = "atend"

func (l *Launch) validateKeep() error {
	n := &l.Namespaces
	switch k := l.Keep; {
	case k == nil || l.keeper != nil: // looked at before
	case l.Stdin != nil || l.Stdout != nil || l.Stderr != nil:
		return bad("Stdin", "with Keep the keeper has the standard files")
	case l.Root == nil:
		return bad("Keep", "the process is to live in another one's mount namespace")
	case (l.newUser() || n.User.Join != nil) && l.TimeOffsets != nil:
		return bad("TimeOffsets", "with Keep in a user namespace of its own: not implemented: %w", errors.ErrUnsupported)
	case slices.Contains(k.Hold, nil):
		return bad("Keep.Hold", "a file is nil")
	case slices.Contains(k.CgroupTasks, nil):
		return bad("Keep.CgroupTasks", "a file is nil")
	default:
		return k.validateFolder()
	}
	return nil
}

// The files of a keeper.
const (
	keepLog     = "log"   // frames
	keepOldLog  = "log.1" // the frames before
	keepExit    = "exit"  // how the process ended
	keepExitNew = "exit.tmp"
	keepControl = "control" // a socket
	keepLock    = "keeper"  // locked while the keeper lives
)

// keepFiles are those that a keeper has from its beginning.
var keepFiles = []string{keepLog, keepExit, keepExitNew, keepControl, keepLock, AtEndFile}

const (
	defaultLogSize = 16 << 20
	minLogSize     = 64 << 10
	maxLogSize     = 1 << 40
	frameHeader    = 32
	frameData      = 32 << 10
)

// ErrNotKept is returned by Adopt for a folder in which no process was started.
var ErrNotKept = errors.New("no process was started in the folder")

// A Stream says where a frame of the log comes from.
type Stream int

// The streams of a log. What a terminal shows is Stdout.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// String returns "stdout" or "stderr".
func (s Stream) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	}
	return "stream " + strconv.Itoa(int(s))
}

// A Frame is what the keeper read at once from a process's output.
type Frame struct {
	Stream Stream
	Time   time.Time
	Data   []byte
}

// A LogReader reads the log of a kept process.
type LogReader struct {
	dir  string
	file *os.File
	off  int64
	head [frameHeader]byte

	changes *os.File // of the folder, for Follow
}

// OpenLog opens the log in a keeper's folder at its beginning. A process that was not started has an empty one.
func OpenLog(dir string) (*LogReader, error) {
	r := &LogReader{dir: dir}
	f, err := os.Open(filepath.Join(dir, keepOldLog))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(filepath.Join(dir, keepLog))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r.file = f
	return r, nil
}

// Next returns the next frame, or io.EOF if there is none at the moment: it may be called again. A frame is returned only
// when it was written whole. If the log was renamed twice since the last call, what was in between is lost.
func (r *LogReader) Next() (*Frame, error) {
	for {
		f, err := r.read()
		if err != io.EOF {
			return f, err
		}
		more, err := r.turn()
		if err != nil {
			return nil, err
		}
		if !more {
			return nil, io.EOF
		}
	}
}

func (r *LogReader) read() (*Frame, error) {
	if r.file == nil {
		return nil, io.EOF
	}
	if _, err := r.file.ReadAt(r.head[:], r.off); err != nil {
		return nil, err
	}
	le := binary.NativeEndian
	n := le.Uint64(r.head[8:])
	if n > frameData {
		return nil, &fs.PathError{Op: "read", Path: r.file.Name(), Err: errors.New("not a keeper's log")}
	}
	f := &Frame{
		Stream: Stream(le.Uint64(r.head[:])), Data: make([]byte, n),
		Time: time.Unix(int64(le.Uint64(r.head[16:])), int64(le.Uint64(r.head[24:]))),
	}
	if _, err := r.file.ReadAt(f.Data, r.off+frameHeader); err != nil {
		return nil, err
	}
	r.off += frameHeader + int64(n)
	return f, nil
}

// turn goes on to the file that was begun after this one, if there is one.
func (r *LogReader) turn() (bool, error) {
	name := keepLog
	if r.file != nil {
		was, err := r.file.Stat()
		switch now, e := os.Stat(filepath.Join(r.dir, keepLog)); {
		case err != nil:
			return false, err
		case errors.Is(e, fs.ErrNotExist):
			return false, nil // it is being renamed
		case e != nil:
			return false, e
		case os.SameFile(now, was):
			return false, nil
		case was.Size() > r.off+frameHeader:
			return true, nil // more was written before it was renamed
		}
		if old, err := os.Stat(filepath.Join(r.dir, keepOldLog)); err == nil && !os.SameFile(old, was) {
			name = keepOldLog // renamed twice
		}
	}
	f, err := os.Open(filepath.Join(r.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_ = r.closeFile()
	r.file, r.off = f, 0
	return true, nil
}

// Close closes the log.
func (r *LogReader) Close() error {
	if r.changes != nil {
		_ = r.changes.Close()
	}
	return r.closeFile()
}

func (r *LogReader) closeFile() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
