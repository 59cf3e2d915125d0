// Supervise containers that outlive the program: it is killed, and its next run finds them again, their output, and how they ended.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	if len(os.Args) > 1 {
		work(os.Args[1])
		return
	}
	dir, err := os.MkdirTemp("", "example-")
	check(err)
	defer os.RemoveAll(dir)
	for range 2 { // the first one kills itself
		worker := exec.Command(os.Args[0], dir)
		worker.Stdout, worker.Stderr = os.Stdout, os.Stderr
		fmt.Println("the worker:", worker.Run())
	}
}

func work(dir string) {
	ctx := context.Background()
	found := false
	var jobs []*container.Container
	for i := range 5 {
		c := container.New(namespace.Dir("/"), "sh", "-c", fmt.Sprintf("echo job %d; sleep 1; exit %d", i, i))
		c.ReadOnlyRoot = true
		c.Cgroup = fmt.Sprintf("%s-%d", filepath.Base(dir), i) // by which it is found again, as by the folder
		c.Keep = &container.Keep{Dir: filepath.Join(dir, fmt.Sprint(i))}
		check(os.MkdirAll(c.Keep.Dir, 0o700))
		err := c.Adopt(ctx)
		if errors.Is(err, namespace.ErrNotKept) { // it was not started, or this program was killed on the way there
			check(c.Discard(ctx))
			err = c.Start(ctx)
		} else {
			found = true
		}
		check(err)
		jobs = append(jobs, c)
	}
	if !found {
		check(jobs[0].Wait(ctx)) // and so its end is seen by both
		self, err := os.FindProcess(os.Getpid())
		check(err)
		check(self.Kill())
		select {}
	}
	for _, c := range jobs {
		_ = c.Wait(ctx) // how it ended is in State
		l, err := container.OpenLog(c.Keep.Dir)
		check(err)
		for {
			frame, err := l.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			check(err)
			fmt.Printf("%s: %s", c.State, frame.Data)
		}
		check(l.Close())
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
