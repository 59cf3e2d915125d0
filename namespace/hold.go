package namespace

import "errors"

// ErrHeldUsed is returned when a second command is started in a Held, or when that was closed.
var ErrHeldUsed = errors.New("held process is in use or closed")

// maxHeldFiles is how many descriptors a command can get that is started in a Held.
const maxHeldFiles = 62

// heldAddr is where the rest of a held process's program is mapped.
const heldAddr = 0x10000000
