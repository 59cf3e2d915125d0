//go:build !unix

package diskusage

import "os"

// identify knows no blocks here.
func identify(info os.FileInfo) (file, uint64, int64) { return file{}, 1, info.Size() }
