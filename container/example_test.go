package container_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func Example() {
	ctx := context.Background()
	root := namespace.Dir("/srv/rootfs")
	defer root.Close()

	c := container.New(root, "sh", "-c", "echo hello; exit 3")
	c.Memory = 64 << 20
	c.CPUs = 0.5
	c.User = "nobody"
	c.Stdout = os.Stdout

	var exit *container.ExitError
	switch err := c.Run(ctx); {
	case errors.As(err, &exit):
		fmt.Println("it ran:", exit, exit.State.Cgroup.Memory.Peak)
	case err != nil:
		log.Fatal(err)
	}
}

func ExampleContainer_Start() {
	c := container.New(namespace.Dir("/srv/rootfs"), "sleep", "1")
	c.Memory = 1 << 20
	err := c.Start(context.Background())
	var start *container.StartError
	if errors.As(err, &start) {
		fmt.Println(start.Path)
		fmt.Println(start.Err)
	}
	// Output:
	// Memory
	// 1048576 bytes is too little to start a container: use 6 MiB (6291456) or more, or 0 for no limit
}

func ExampleContainer_Run() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := container.New(namespace.Dir("/srv/rootfs"), "make", "all")
	c.Mounts = []container.Mount{
		container.Bind("/home/me/src", "/src", container.ReadOnly),
		container.Tmpfs("/build", "size=1g"),
	}
	c.Dir = "/src"
	c.WaitDelay = 10 * time.Second // from SIGTERM, when the minute is over, to SIGKILL
	out, err := c.CombinedOutput(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Println("it took too long")
	}
	os.Stdout.Write(out)
}

func ExampleContainer_Command() {
	ctx := context.Background()
	c := container.New(namespace.Dir("/srv/rootfs"), "httpd", "-f")
	if err := c.Start(ctx); err != nil {
		log.Fatal(err)
	}
	out, err := c.Command("ps").Output(ctx)
	fmt.Println(string(out), err)

	grace, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.Stop(grace); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Wait(ctx))
}

func ExampleContainer_Namespace() {
	ctx := context.Background()
	server := container.New(namespace.Dir("/srv/rootfs"), "httpd", "-f")
	if err := server.Start(ctx); err != nil {
		log.Fatal(err)
	}
	client := container.New(namespace.Dir("/srv/rootfs"), "wget", "-O-", "http://127.0.0.1/")
	client.Namespaces.Network = server.Namespace()
	out, err := client.Output(ctx)
	fmt.Println(string(out), err)
}

// The host program refuses to let the container mount anything, and says what it tried.
func ExampleContainer_seccompNotify() {
	c := container.New(namespace.Dir("/srv/rootfs"), "mount", "-t", "tmpfs", "none", "/mnt")
	c.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"mount"}, Action: specs.ActNotify}},
	}
	c.SeccompNotify = func(l *container.SeccompListener) {
		defer l.Close()
		for {
			call, err := l.Receive(context.Background())
			if err != nil {
				return // io.EOF: the container has ended
			}
			target, err := call.ReadString(call.Args[1], 4096)
			fmt.Println(container.SyscallName(call), target, err)
			if err := call.Fail(syscall.EPERM); err != nil {
				log.Print(err) // it was killed meanwhile
			}
		}
	}
	if err := c.Run(context.Background()); err != nil {
		log.Print(err)
	}
}

func ExampleContainer_LoadSeccomp() {
	c := container.New(namespace.Dir("/srv/rootfs"), "sh")
	err := c.LoadSeccomp([]byte(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
		{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}, {"names": ["reboot"], "action": "FORBID"}]}`))
	fmt.Println(err)
	// Output: start container: check seccomp.syscalls[1].action: unknown action "FORBID"
}

func ExampleBind() {
	m := container.Bind("/srv/data", "/data", container.ReadOnly, container.NoExec)
	fmt.Println(m.Type, m.Source, m.Target, m.Flags == container.ReadOnly|container.NoExec)
	// Output: bind /srv/data /data true
}

func ExampleExitError() {
	err := error(&container.ExitError{State: &container.State{Code: -1, Signal: 9, OOMKilled: true}})
	fmt.Println(err)
	var exit *container.ExitError
	if errors.As(err, &exit) && exit.OOMKilled {
		fmt.Println("give it more memory")
	}
	// Output:
	// signal: killed (out of memory)
	// give it more memory
}

func ExamplePool() {
	ctx := context.Background()
	pool := &container.Pool{
		Size: 8,
		New: func(context.Context) (*container.Container, error) {
			c := container.New(namespace.Dir("/srv/rootfs")) // the command comes later
			c.ReadOnlyRoot = true
			c.Memory, c.PidsLimit = 64<<20, 20
			return c, nil
		},
	}
	defer pool.Close()

	c, err := pool.Get(ctx) // set up already
	if err != nil {
		log.Fatal(err)
	}
	c.Args = []string{"sh", "-c", "echo hello"}
	out, err := c.Output(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(out))
}
