package layer

import "fmt"

// A Format is how a [Store] keeps the layers that are put into it. Layers of both formats can be in one store, and in one
// mount.
type Format int

// The values of Format.
const (
	// Folder: a folder with the layer's files. The zero value.
	Folder Format = iota
	// EROFS: a file with a read-only file system, which is mounted from that file: nothing can change in it, and it is
	// deleted at once. It takes root, mkfs.erofs of Debian's erofs-utils when a layer is extracted, and Linux ≥ 6.12
	// (CONFIG_EROFS_FS_BACKED_BY_FILE) to mount it, with the store on ext4, xfs or btrfs, not on tmpfs. A layer of which
	// more than half is holes, of 64 MiB at least, is kept as a folder all the same, since mkfs.erofs writes holes out.
	//
	// Extracting takes a quarter longer, for the files are written to a folder first, and each mount has the files it
	// reads in memory by itself, which mounts of one folder share: it is for images that are read and deleted more often
	// than pulled, such as by builds and tests.
	EROFS
)

// String returns "folder" or "erofs".
func (f Format) String() string {
	if f == EROFS {
		return "erofs"
	}
	return "folder"
}

// MarshalText returns what String does.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what String writes.
func (f *Format) UnmarshalText(text []byte) error {
	for _, known := range []Format{Folder, EROFS} {
		if known.String() == string(text) {
			*f = known
			return nil
		}
	}
	return fmt.Errorf("layer format %.40q is neither %q nor %q", text, Folder, EROFS)
}
