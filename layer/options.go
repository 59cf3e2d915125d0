package layer

import (
	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/namespace"
)

// ExtractOptions are the options of [Store.Extract]. The zero value of a bound means its default.
type ExtractOptions struct {
	// MediaType is what the layer's descriptor says, OCI's or Docker's. The stream's compression must agree with
	// it. "" means that the stream's first bytes decide.
	MediaType string

	// DiffID is the expected digest of the uncompressed stream. "" means any: it is computed, with SHA-256.
	DiffID digest.Digest

	// MaxSize bounds the uncompressed stream, and the sum of the sizes of the files in it, holes included: each in
	// bytes. 0 means 128 GiB.
	MaxSize int64

	// MaxNames bounds the number of entries of the tar stream, together with the folders that it implies. 0 means
	// 4,194,304.
	MaxNames int64

	// MaxRatio bounds how many bytes one compressed byte may become, once there are more than 1 GiB of them.
	// 0 means 250.
	MaxRatio int64

	// MaxWindow bounds the window of a zstd stream in bytes, and so the memory that it takes, which is 300 KB more. 0
	// means 32 MiB, which compression levels up to 20 keep to. A stream that has a window larger than 8 MiB,
	// which those up to level 19 keep to, is inflated while no other zstd stream of the Store is.
	MaxWindow uint64

	// Whole, if not nil, is called, by another goroutine than those that read the stream, before one with such a window waits for
	// its turn. It may see to it that what is left of the stream comes without waiting, so that a slow source does not hold up others.
	Whole func() error

	// Inflated, if not nil, is called with the number of bytes of each part of the uncompressed stream, before they are written, by
	// another goroutine than those that read the stream. It must not block for long.
	Inflated func(n int)
}

const (
	defaultMaxSize   = 128 << 30
	defaultMaxNames  = 4 << 20
	defaultMaxRatio  = 250
	defaultMaxWindow = 32 << 20
	ratioFree        = 1 << 30 // MaxRatio does not apply below this many bytes
)

func (o *ExtractOptions) withDefaults() ExtractOptions {
	var v ExtractOptions
	if o != nil {
		v = *o
	}
	if v.MaxSize == 0 {
		v.MaxSize = defaultMaxSize
	}
	if v.MaxNames == 0 {
		v.MaxNames = defaultMaxNames
	}
	if v.MaxRatio == 0 {
		v.MaxRatio = defaultMaxRatio
	}
	if v.MaxWindow == 0 {
		v.MaxWindow = defaultMaxWindow
	}
	return v
}

// A CopyMode says when [Mount] copies layers.
type CopyMode int

// The values of CopyMode.
const (
	// CopyNever: what cannot be an overlay is an error.
	CopyNever CopyMode = iota
	// CopyFallback: when the kernel has no overlayfs, refuses it to this program, or cannot have it on Upper's file
	// system; but not when Upper holds an overlay's changes already.
	CopyFallback
	// CopyAlways: no overlay is tried.
	CopyAlways
)

// MountOptions are the options of [Mount].
type MountOptions struct {
	// ReadOnly makes a root file system that nothing can be written to. Upper and Work must be "" then.
	ReadOnly bool

	// Upper is the folder that takes what is written. It must be on a file system that overlayfs can write to (ext4,
	// xfs, btrfs, tmpfs; not another overlay). It is made when it does not exist, and given the owner and the mode of
	// the topmost layer's root when it is empty. "" means a temporary one that Root.Close removes.
	Upper string

	// Work is the folder that overlayfs works in, on the same file system as Upper, for this mount alone. It is made
	// when it does not exist. It must be set exactly when Upper is.
	Work string

	// Volatile is for an Upper that is thrown away: nothing that is written to it is synced, at the end of the mount neither,
	// which otherwise waits until the whole file system that Upper is on is on the disk; and fsync(2) does nothing. After a
	// loss of power anything may be in Upper. A temporary Upper and one in memory are that anyway. Linux ≥ 5.10.
	Volatile bool

	// InMemory, if it is not 0, is the size in bytes of the memory that takes what is written, a tmpfs of the mount's own; it
	// is gone with the Root, and the mount takes a part of the time that folders on a disk cost. What a container writes is
	// its memory then, and counts as such. Upper and Work must be "", and it goes neither with ReadOnly nor with a copy nor
	// with UIDMappings.
	InMemory int64

	// Copy says whether a copy of the layers may, or is to, take the overlay's place. A copy takes the time and the space
	// of all files, unless the file system shares data between files (btrfs, xfs), and Upper then holds the whole tree:
	// see [Copied]. Such an Upper is used as a copy ever after.
	Copy CopyMode

	// NoKeep makes nothing that stays on disk when the Root is closed. Without it the first mount of a list of layers makes
	// a small one, which is kept for the next, if one of them implies folders to which a lower one gives an owner or a
	// mode: with it these folders have the default ones.
	NoKeep bool

	// UIDMappings and GIDMappings show the owners of files as other ids: those of a container's user namespace, whose root
	// then owns what belongs to 0 on disk; what it writes is owned by 0 in Upper. Both or none. Upper and Work must lie in
	// one folder. It takes Linux ≥ 5.19 and a file system that can do it. An ordinary user's program cannot have files shown
	// so: with [CopyAlways] it has a copy made whose files belong on disk to whom the maps give an image's ids, which must
	// be the user itself and its subordinate ids.
	UIDMappings, GIDMappings []namespace.IDMapping

	// Target is a folder of the host at which the root file system appears; Root.Close takes it away. "" means that
	// the mount is detached: only the Root refers to it, and it is gone when the program ends.
	Target string
}
