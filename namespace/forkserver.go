package namespace

// maxForked is how many bytes the program of a command may have that a fork server clones, arguments and environment included.
const maxForked = 64 << 10

// maxForkedFiles is how many descriptors can be sent to a fork server at once.
const maxForkedFiles = 62
