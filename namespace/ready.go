package namespace

import "os"

// A ready is what StartReady has a process wait for.
type ready struct {
	call func(*Process) error
	gate *os.File // our end
}
