package namespace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// A LogPosition is a place between two frames of a log, for [OpenLogAt]. It may be kept as JSON, and holds until the
// machine starts again.
type LogPosition struct {
	// File tells the log from those before and after it. Zero is the oldest that there is.
	File uint64
	// Offset is in bytes, from the file's beginning.
	Offset int64
}

// Position is the place of the next frame.
func (r *LogReader) Position() (LogPosition, error) {
	if r.file == nil {
		return LogPosition{}, nil
	}
	n, err := fileNumber(r.file)
	if err != nil {
		return LogPosition{}, err
	}
	return LogPosition{File: n, Offset: r.off}, nil
}

// EndOfLog is the place of the frame that the next process writes first to the log in a keeper's folder: see [ContinueLog].
func EndOfLog(dir string) (LogPosition, error) {
	f, err := os.Open(filepath.Join(dir, keepLog))
	if errors.Is(err, fs.ErrNotExist) {
		return LogPosition{}, nil
	}
	if err != nil {
		return LogPosition{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return LogPosition{}, err
	}
	n, err := fileNumber(f)
	return LogPosition{File: n, Offset: st.Size()}, err
}

// OpenLogAt opens the log in a keeper's folder at a place that [LogReader.Position] has returned, of this reader or another
// one. If the log has been renamed twice since, it is opened at its beginning, and lost is true.
func OpenLogAt(dir string, at LogPosition) (r *LogReader, lost bool, err error) {
	if at.File == 0 {
		r, err = OpenLog(dir)
		return r, false, err
	}
	// Twice: it may be renamed between the two looks.
	for _, name := range []string{keepLog, keepOldLog, keepLog, keepOldLog} {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		n, err := fileNumber(f)
		if err == nil && n == at.File {
			var st fs.FileInfo
			if st, err = f.Stat(); err == nil && at.Offset >= 0 && at.Offset <= st.Size() {
				return &LogReader{dir: dir, file: f, off: at.Offset}, false, nil
			}
		}
		_ = f.Close()
		if err != nil {
			return nil, false, err
		}
	}
	r, err = OpenLog(dir)
	return r, true, err
}
