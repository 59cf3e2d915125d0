package testenv

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A Program is a helper program that the test binary plays: args are as os.Args, the result is the exit code.
type Program func(args []string) int

// settle bounds how long what the tests made may take to vanish after the last of them.
const settle = 5 * time.Second

var lazies []lazy

type lazy struct {
	name string
	make func() error
}

// Lazy tells Main about state that the code under test makes once, on first use, and keeps for the life of the
// process: a descriptor of a template namespace, say, or a cached probe. Main calls make before it takes stock. An
// error, as where the state cannot be made without root, is not a failure. Call Lazy before Main.
func Lazy(name string, make func() error) { lazies = append(lazies, lazy{name, make}) }

// Main is the body of TestMain; it does not return. When the base of os.Args[0] names one of the programs, the process
// is that program and nothing else. Otherwise Main runs the tests, with TMPDIR set to a folder of their own, and
// fails when they leave something behind: a descriptor, a goroutine, a mount, a cgroup, a network interface, a child
// process (zombies and adopted orphans too; see [ReapOrphans]) or a file in the temporary folder.
func Main(m *testing.M, programs map[string]Program) {
	if p, ok := programs[filepath.Base(os.Args[0])]; ok {
		os.Exit(p(os.Args))
	}
	if !flag.Parsed() {
		flag.Parse()
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	tmp, err := newTmp()
	if err == nil {
		folder, err = os.Getwd()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	if fuzzing() {
		defer removeTmp(tmp)
		return m.Run()
	}
	warmUp()
	adoptOrphans()
	before, others := take(), pids(childProcesses())
	code := m.Run()
	if code == 0 {
		left := wait(before, settle)
		_ = os.Remove(staticPath())
		left = append(left, filesIn(tmp)...)
		for _, l := range left {
			fmt.Fprintln(os.Stderr, "testenv: leak:", l)
		}
		if len(left) > 0 {
			fmt.Printf("FAIL: %d leak(s)\n", len(left))
			code = 1
		}
	}
	killChildren(others)
	if err := removeTmp(tmp); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	return code
}

// newTmp makes the folder that os.TempDir, and so t.TempDir, names from here on. It can be traversed by everybody:
// tests run programs as other users.
func newTmp() (string, error) {
	tmp, err := os.MkdirTemp("", tmpPrefix)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		if err := os.Setenv(name, tmp); err != nil {
			return "", err
		}
	}
	return tmp, os.Chmod(tmp, 0o711)
}

const tmpPrefix = "caisson-test-"

func filesIn(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	var left []string
	for _, e := range entries {
		left = append(left, "file "+filepath.Join(dir, e.Name()))
	}
	return left
}

// fuzzing says that this process is a fuzzing coordinator or worker: the engine's own pipes and processes come and go.
func fuzzing() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		f := flag.Lookup(name)
		if f != nil && f.Value.String() != "" && f.Value.String() != "false" {
			return true
		}
	}
	return false
}

// warmUp makes what the runtime and the code under test make once and keep.
func warmUp() {
	if r, w, err := os.Pipe(); err == nil { // starts the runtime's network poller
		_ = r.SetDeadline(time.Now().Add(time.Hour))
		_ = r.Close()
		_ = w.Close()
	}
	for _, l := range lazies {
		if err := l.make(); err != nil {
			fmt.Fprintf(os.Stderr, "testenv: %s: %v\n", l.name, err)
		}
	}
}

// wait takes stock until nothing is left that was not there before, or the time is over; it returns what is left: what
// every look saw. A control group without a process may be one that another test binary has made ahead: it gets more time.
func wait(before *stock, limit time.Duration) []string {
	start := time.Now()
	left := take().minus(before)
	for pause := time.Millisecond; len(left) > 0; pause = min(2*pause, 100*time.Millisecond) {
		others := true
		for id := range left {
			others = others && strings.HasPrefix(id, "cgroup ") && !strings.Contains(id, ownCgroupPrefix())
		}
		if since := time.Since(start); since > 6*limit || since > limit && !others {
			break
		}
		time.Sleep(pause)
		now := take().minus(before)
		maps.DeleteFunc(left, func(id, _ string) bool { return now[id] == "" })
	}
	return slices.Sorted(maps.Values(left))
}

// A stock is what the process holds, by kind: identity to description.
type stock struct{ kinds []kind }

type kind struct {
	name  string
	items map[string]string
}

func take() *stock { return &stock{append(systemKinds(), kind{"goroutine", goroutines()})} }

// minus returns what is not in before, as kind and description, by kind and identity.
func (s *stock) minus(before *stock) map[string]string {
	left := make(map[string]string)
	for i, k := range s.kinds {
		for id, text := range k.items {
			if _, ok := before.kinds[i].items[id]; !ok {
				left[k.name+" "+id] = k.name + " " + strings.TrimSpace(text)
			}
		}
	}
	return left
}

func pids(children []child) map[int]bool {
	all := make(map[int]bool)
	for _, c := range children {
		all[c.pid] = true
	}
	return all
}
