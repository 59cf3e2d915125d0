package namespace

import "errors"

// ErrDeputyEnded is returned by a Deputy's calls when its process has ended, or it was closed.
var ErrDeputyEnded = errors.New("the deputy's process has ended")

// maxDeputyData is how many bytes the strings and buffers of one call may have together.
const maxDeputyData = 72 << 10

// A Descriptor is the number of a descriptor of this program, as an argument of a [Deputy]'s calls. It is open during the
// call.
type Descriptor int
