package peers

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func runPattern() string { return flag.Lookup("test.run").Value.String() }

const runtimeTools = "github.com/opencontainers/runtime-tools"

// newValidation builds the validation programs, pinned in testdata/runtime-tools/go.mod, and returns the folder to run
// them in.
func newValidation(t *testing.T) string {
	t.Helper()
	testenv.RequireCommand(t, "go", "tar")
	dir := newDir(t)
	command := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = filepath.Join("testdata", "runtime-tools")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stderr = new(bytes.Buffer)
		out, err := cmd.Output()
		if err != nil {
			testenv.Skip(t, "the module "+runtimeTools+": "+cmd.Stderr.(*bytes.Buffer).String())
		}
		return out
	}
	command("build", "-ldflags=-s -w", "-o", dir, runtimeTools+"/cmd/runtimetest", runtimeTools+"/validation/...")
	module := strings.TrimSpace(string(command("list", "-m", "-f={{.Dir}}", runtimeTools)))
	rootfs := "rootfs-" + runtime.GOARCH + ".tar.gz"
	if _, err := os.Stat(filepath.Join(module, rootfs)); err != nil {
		t.Skipf("the programs have no %s", rootfs)
	}
	require.NoError(t, os.Symlink(filepath.Join(module, rootfs), filepath.Join(dir, rootfs)))
	return dir
}

const envValidation = "PEERS_VALIDATION"

// TestValidation runs the validation programs of opencontainers/runtime-tools and compares what they say with what they
// said before, in testdata. After -update, read the difference: what is no longer ok has become worse.
func TestValidation(t *testing.T) {
	dir := ""
	if os.Getenv(envRuntime) == "" {
		testenv.RequireRoot(t)
		if testing.Short() || os.Getenv(envLater) != "" {
			t.Skip("builds another module")
		}
		dir = newValidation(t)
	}
	inMachines(t, validate, envValidation+"="+dir)
}

func validate(t *testing.T, m *machine) {
	dir := os.Getenv(envValidation)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	golden := filepath.Join("testdata", "validation-"+m.Name+".txt")
	want, err := os.ReadFile(golden)
	require.True(t, err == nil || *update, "%v", err)
	var (
		results = make(map[string]string)
		lock    sync.Mutex // of results
		shared  sync.Mutex // of the control group that the programs about them share
		all     sync.WaitGroup
		slots   = make(chan struct{}, 4)
	)
	for _, e := range entries {
		if e.Name() == "runtimetest" || strings.HasPrefix(e.Name(), "rootfs-") {
			continue
		}
		all.Go(func() {
			if strings.HasPrefix(e.Name(), "linux_cgroups_") || strings.HasPrefix(e.Name(), "delete_") {
				shared.Lock()
				defer shared.Unlock()
			}
			slots <- struct{}{}
			defer func() { <-slots }()
			r := runValidation(t, m, dir, e.Name())
			for range tries[e.Name()] {
				if !strings.Contains(r, "not ok") {
					break
				}
				r = runValidation(t, m, dir, e.Name())
			}
			for n := 0; n < 2 && !*update && !strings.Contains("\n"+string(want), "\n"+e.Name()+"\n"+r); n++ { // a busy machine
				r = runValidation(t, m, dir, e.Name())
			}
			if !*update && slices.Contains(either[e.Name()], r) {
				for _, other := range either[e.Name()] {
					if strings.Contains("\n"+string(want), "\n"+e.Name()+"\n"+other) {
						r = other
					}
				}
			}
			lock.Lock()
			defer lock.Unlock()
			results[e.Name()] = r
		})
	}
	all.Wait()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(results)) {
		fmt.Fprintf(&b, "%s\n%s", name, results[name])
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
		return
	}
	require.Equal(t, string(want), b.String())
}

// tries is how often a program is run until it passes that depends on who is first: one kills what may have ended, in the other a
// hook and the process write to the same file.
var tries = map[string]int{"pidfile": 2, "poststart": 2}

// either is what these may say, whatever the runtime: on a quiet machine the process has always ended before it is killed.
var either = map[string][]string{
	"pidfile": {"\t1 ok\n", "\t0 ok\n\tnot ok: create with '--pid-file' option works\n"},
	"poststart": {
		"\t0 ok\n", "\t0 ok\n\tnot ok: The post-start hooks MUST be called before the `start` operation returns\n",
		"\t0 ok\n\tnot ok: The post-start hooks MUST be called after the user-specified process is executed\n",
	},
}

var tapLine = regexp.MustCompile(`(?m)^(not ok|ok) \d+ - (.*)$`)

var tapError = regexp.MustCompile(`(?m)"error": "(.*?)(?:\\n|"$)`)

// runValidation runs a program, and returns how many of its assertions are ok, those that are not, and an exit code but 0.
func runValidation(t *testing.T, m *machine, dir, name string) string {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, name))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RUNTIME="+m.Runtime, "TMPDIR="+m.Dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Errorf("%s: %v", name, err)
	}
	if testing.Verbose() {
		t.Logf("%s: %v\n%s%s", name, err, out.Bytes(), errs.Bytes())
	}
	var b strings.Builder
	ok := 0
	for _, line := range tapLine.FindAllStringSubmatch(out.String(), -1) {
		if line[1] == "ok" {
			ok++
		} else {
			fmt.Fprintf(&b, "\tnot ok: %s\n", strings.TrimSpace(line[2]))
		}
	}
	if found := tapError.FindStringSubmatch(out.String()); found != nil && ok == 0 && b.Len() == 0 { // some say no more than this
		fmt.Fprintf(&b, "\tnot ok: %s\n", found[1])
	}
	if exit != nil {
		fmt.Fprintf(&b, "\texit code %d\n", exit.ExitCode())
	}
	return fmt.Sprintf("\t%d ok\n%s", ok, b.String())
}
