package container_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// programs are those that the test binary plays.
var programs = map[string]testenv.Program{
	"devices": devices, "mknod": mknod, "push": push,
	"echo": echo, "cat": cat, "exit": exit, "sleep": sleep, "errors": errorsProgram, "id": id, "env": env,
	"hog": hog, "read-hog": readHog, "trap": trap, "spin": spin, "read": read, "write": write, "tty": tty, "linger": linger, "fds": fds,
	"branch": branch, "holder": holder, "owner": owner, "daemon": daemon, "status": status, "regard": regard, "leaver": leaver,
	"leaver-apart": leaverApart, "comms": comms, "end": end, "hook": hookProgram, "write-until-error": writeUntilError,
}

// warmGuardian starts the guardian, which lives as long as the program.
func warmGuardian() error {
	w := &namespace.Ward{}
	if err := w.Register(); err != nil {
		return err
	}
	return w.Release()
}

// echo prints its arguments.
func echo(args []string) int {
	fmt.Println(strings.Join(args[1:], " "))
	return 0
}

// cat copies its input to its output.
func cat([]string) int {
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		return 1
	}
	return 0
}

// exit ends with the status, or kills itself by the signal after a dash.
func exit(args []string) int {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return 99
	}
	if n < 0 {
		_ = syscall.Kill(os.Getpid(), syscall.Signal(-n))
		time.Sleep(time.Second)
	}
	return n
}

// sleep sleeps for the duration.
func sleep(args []string) int {
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return 99
	}
	fmt.Println("sleeping")
	time.Sleep(d)
	return 0
}

// errorsProgram writes n bytes to each of its outputs and ends with status 3.
func errorsProgram(args []string) int {
	n, _ := strconv.Atoi(args[1])
	fmt.Fprint(os.Stdout, strings.Repeat("o", n))
	fmt.Fprint(os.Stderr, "begin ", strings.Repeat("e", n), " end")
	return 3
}

// id prints who it is.
func id([]string) int {
	groups, _ := os.Getgroups()
	dir, _ := os.Getwd()
	host, _ := os.Hostname()
	fmt.Println(os.Getuid(), os.Getgid(), groups, dir, host, os.Getpid())
	return 0
}

// env prints its environment.
func env([]string) int {
	fmt.Println(strings.Join(os.Environ(), "\n"))
	return 0
}

// hog uses the MiB of memory.
func hog(args []string) int {
	n, _ := strconv.Atoi(args[1])
	b := make([]byte, n<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	fmt.Println("used", len(b)>>20)
	return 0
}

// readHog reads a line, then uses the MiB of memory.
func readHog(args []string) int {
	var line string
	_, _ = fmt.Scanln(&line)
	return hog(args)
}

// trap says "ready", waits for a signal, says which, and ends; told to ignore, it goes on.
func trap(args []string) int {
	c := make(chan os.Signal, 10)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGQUIT)
	fmt.Println("ready")
	for {
		fmt.Println("got", <-c)
		if len(args) < 2 || args[1] != "ignore" {
			return 0
		}
	}
}

// spin counts, a line each 10 ms.
func spin([]string) int {
	for i := 0; ; i++ {
		if _, err := fmt.Println(i); err != nil {
			return 1
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// read prints the files.
func read(args []string) int {
	for _, name := range args[1:] {
		b, err := os.ReadFile(name)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Print(string(b))
	}
	return 0
}

// write writes the text into the file.
func write(args []string) int {
	if err := os.WriteFile(args[1], []byte(args[2]), 0o644); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// tty prints what its input is, and echoes lines until the end of file.
func tty([]string) int {
	name, _ := os.Readlink("/proc/self/fd/0")
	fmt.Println("tty", name, winsize())
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		fmt.Println("line", s.Text(), winsize())
	}
	return 0
}

// linger starts a child that keeps the output open for the duration, and ends, unless there is one more argument.
func linger(args []string) int {
	p, err := os.StartProcess("/bin/sleep", []string{"sleep", args[1]},
		&os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}, Env: []string{}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_ = p.Release()
	fmt.Println("left")
	if len(args) > 2 {
		time.Sleep(time.Hour)
	}
	return 0
}

// fds prints the open descriptors.
func fds([]string) int {
	names, _ := os.ReadDir("/proc/self/fd")
	for _, n := range names {
		target, err := os.Readlink("/proc/self/fd/" + n.Name())
		if err == nil && !strings.Contains(target, "eventpoll") && !strings.Contains(target, "eventfd") &&
			!strings.HasPrefix(target, "/proc/") && !strings.HasPrefix(target, "/sys/fs/cgroup/") {
			fmt.Println(n.Name())
		}
	}
	return 0
}

// status prints lines of /proc/self/status that begin with one of the arguments.
func status(args []string) int {
	b, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(b), "\n") {
		for _, a := range args[1:] {
			if strings.HasPrefix(line, a+":") {
				fmt.Println(line)
			}
		}
	}
	return 0
}

// comms prints the names of all processes.
func comms([]string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		fmt.Print(string(b))
	}
	return 0
}

// end kills the processes with the name.
func end(args []string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, f := range files {
		if b, _ := os.ReadFile(f); string(b) == args[1]+"\n" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			fmt.Println(pid, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	fmt.Println("done")
	return 0
}

// writeUntilError prints until that fails, and exits with the status then.
func writeUntilError(args []string) int {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	b := make([]byte, 4096)
	for {
		if _, err := syscall.Write(1, b); err != nil && err != syscall.EINTR {
			code, _ := strconv.Atoi(args[1])
			return code
		}
	}
}
