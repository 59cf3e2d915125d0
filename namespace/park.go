package namespace

import "errors"

// A parked process is reached by two named pipes in a folder that its starter names: it waits at one for a byte, and says
// on the other whether it could execute its command.
const (
	parkGate   = "exec.fifo"
	parkReport = "report.fifo"
)

// ErrNotParked is returned when no process waits in a folder: it was let go, or has ended.
var ErrNotParked = errors.New("no process waits to be started")
