package helloworld

import "strings"

const greeting = `
Hello from caisson!

Four steps led to this greeting:
 1. The image was pulled by HTTP from the small registry carried in the program
    that runs this container.
 2. It was stored as an OCI image layout, and its one layer was unpacked beside it.
 3. That layer was mounted as an overlay, below a writable layer of this container's.
 4. A process was started in namespaces and a cgroup of its own, gave up what it
    need not be allowed, and became this program: static, for $ARCH, made of
    machine code that a few lines of Go wrote.

Next, try an image with a shell in it:
 minidocker run -it IMAGE sh

`

// Greeting returns what the program for the architecture (as GOARCH names it) prints.
func Greeting(arch string) string { return strings.ReplaceAll(greeting, "$ARCH", arch) }
