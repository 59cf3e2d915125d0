package container_test

import (
	"context"
	"errors"
	"log"
	"os"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// A compiler of code that nobody has looked at: it may read the system and its sources, write to one folder, and connect to
// nothing, even as root and whatever hole its set-user-ID programs have.
func ExampleProcess_landlock() {
	c := container.New(namespace.Dir("/srv/rootfs"), "make", "-C", "/src")
	c.Mounts = []container.Mount{container.Bind("/home/me/src", "/src"), container.Tmpfs("/tmp", "size=1g")}
	const read, execute, write = namespace.LandlockRead, namespace.LandlockExecute, namespace.LandlockWrite
	c.Landlock = &namespace.Landlock{
		Files: []namespace.LandlockFiles{
			{Path: "/bin", Access: read | execute},
			{Path: "/usr", Access: read | execute},
			{Path: "/lib", Access: read | execute, Optional: true},
			{Path: "/lib64", Access: read | execute, Optional: true},
			{Path: "/src", Access: read},
			{Path: "/src/build", Access: read | write},
			{Path: "/tmp", Access: read | write},
			{Path: "/dev/null", Access: read | write},
		},
		// No port is allowed, and no signal to, or abstract socket of, processes outside.
	}
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	err := c.Run(context.Background())
	if errors.Is(err, errors.ErrUnsupported) { // before Linux 6.12 some of it cannot be restricted: the error says what
		log.Fatal(err)
	}
}
