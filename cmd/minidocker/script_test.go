package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/helloworld"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestScript runs the scripts of testdata/script, one a verb, each with a root folder of its own. $REG is the registry of
// newRegistry, $AUTHREG that of newAuthRegistry; $HELLO_LAYER and $HELLO_DIGEST are what a pull of hello-world prints.
func TestScript(t *testing.T) {
	testenv.RequireRoot(t)
	host, auth := newRegistry(t), newAuthRegistry(t)
	command := newCommand(t)
	image, err := helloworld.New()
	require.NoError(t, err)
	layer := image.Blobs[1]
	if runtime.GOARCH == "arm64" {
		layer = image.Blobs[3]
	}
	testenv.ReapOrphans(t)
	testscript.Run(t, testscript.Params{
		WorkdirRoot:         t.TempDir(),
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(command)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("CAISSON_ROOT", filepath.Join(e.WorkDir, "root"))
			e.Setenv("CAISSON_NETWORK_NAMESPACE", os.Getenv("CAISSON_NETWORK_NAMESPACE"))
			e.Setenv("REG", host)
			e.Setenv("AUTHREG", auth)
			e.Setenv("DOCKER_CONFIG", filepath.Join(e.WorkDir, "docker"))
			e.Setenv("ARCH", runtime.GOARCH)
			e.Setenv("OTHER_ARCH", map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH])
			e.Setenv("HELLO_LAYER", layer.Descriptor.Digest.Encoded()[:12])
			e.Setenv("HELLO_DIGEST", image.Index.Descriptor.Digest.String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "untilup": untilUp, "untilexited": untilExited, "killsupervisor": killSupervisor, "nosupervisor": noSupervisor,
		},
	})
}

// status runs a command and checks its exit status: status 127 minidocker run …
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status code command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		text := err.Error()
		i := strings.LastIndex(text, "exit status ")
		if i < 0 {
			ts.Fatalf("%v", err)
		}
		got, err = strconv.Atoi(strings.TrimSpace(text[i+len("exit status "):]))
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// untilUp waits until the container of that name runs.
func untilUp(ts *testscript.TestScript, _ bool, args []string) { untilStatus(ts, args[0], "running") }

// untilExited waits until the container of that name has ended, and is not to be started again.
func untilExited(ts *testscript.TestScript, _ bool, args []string) {
	untilStatus(ts, args[0], "exited")
}

func untilStatus(ts *testscript.TestScript, name, status string) {
	for range 400 {
		ts.Check(ts.Exec("minidocker", "ps", "-q", "--filter", "name="+name, "--filter", "status="+status))
		if ts.ReadFile("stdout") != "" {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	ts.Fatalf("%s is not %s", name, status)
}

// killSupervisor kills the supervisor of the script's folder, and then the process of the container that is named, if one is.
func killSupervisor(ts *testscript.TestScript, _ bool, names []string) {
	root := ts.Getenv("CAISSON_ROOT")
	var pid int
	if len(names) > 0 { // a command would start another supervisor
		ts.Check(ts.Exec("minidocker", "inspect", names[0]))
		var all []engine.Container
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &all))
		pid = all[0].State.Pid
	}
	ts.Check(killSupervisorOf(root))
	if pid > 0 {
		p, err := os.FindProcess(pid)
		ts.Check(err)
		ts.Check(p.Kill())
	}
}

func killSupervisorOf(root string) error {
	b, err := os.ReadFile(filepath.Join(root, "supervisor.lock"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if err := p.Kill(); err != nil {
		return err
	}
	for range 1000 {
		l, held, err := durable.TryAcquire(filepath.Join(root, "supervisor.lock"), true)
		if err != nil {
			return err
		}
		if !held {
			return l.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("it is still there")
}

// noSupervisor waits until the supervisor of the script's folder has ended.
func noSupervisor(ts *testscript.TestScript, _ bool, _ []string) {
	for range 1000 {
		l, held, err := durable.TryAcquire(filepath.Join(ts.Getenv("CAISSON_ROOT"), "supervisor.lock"), true)
		ts.Check(err)
		if !held {
			ts.Check(l.Close())
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("the supervisor is still there")
}
