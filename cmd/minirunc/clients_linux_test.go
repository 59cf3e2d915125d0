package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// clientPatterns are what programs that call a runtime look for in its errors, to tell what happened: the client, where it does, and
// what it looks for in the message of which command. The container "stopped" has ended, and "running" runs.
var clientPatterns = []struct {
	client, at string
	args       []string
	edit       func(*specs.Spec) // for a create: of its configuration
	code       int
	pattern    string
}{
	{"containerd", "pkg/process/utils.go checkKillError: not found", []string{"kill", "stopped", "TERM"}, nil, 1,
		"os: process already finished|container not running|(?i:no such process)"},
	{"containerd", "pkg/process/utils.go checkKillError: no such container", []string{"kill", "absent", "KILL"}, nil, 1, "does not exist"},
	{"containerd", "pkg/process/init.go delete: passed over", []string{"delete", "absent"}, nil, 1, "does not exist"},
	{"CRI-O", "internal/oci/runtime_oci.go runtimeCmd: ErrNotFound", []string{"kill", "stopped", "15"}, nil, 1,
		"no such process|container not running|invalid process"},
	{"CRI-O", "internal/oci/runtime_oci.go DeleteContainer", []string{"delete", "--force", "absent"}, nil, 0, "^$"},
	{"Docker", "libcontainerd/remote wrapError: NotFound", []string{"state", "absent"}, nil, 1,
		"container does not exist|not found|no such container"},
	{"Docker", "daemon/errors.go translateContainerdStartErr: 127", []string{"create"},
		func(s *specs.Spec) { s.Process.Args[0] = "absent" }, 1, "absent.*(executable file not found|no such file or directory)"},
	{"Docker", "daemon/errors.go translateContainerdStartErr: 127", []string{"create"},
		func(s *specs.Spec) { s.Process.Args[0] = "/absent" }, 1, "/absent.*(executable file not found|no such file or directory)"},
	{"Docker", "daemon/errors.go translateContainerdStartErr: 126", []string{"create"},
		func(s *specs.Spec) { s.Process.Args[0] = "/etc/passwd" }, 1, "permission denied"},
	{"Docker", "daemon/errors.go translateContainerdStartErr: a file on a directory", []string{"create"}, func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Source: "/etc/passwd", Destination: "/tmp", Type: "bind", Options: []string{"bind"}})
	}, 1, "not a directory"},
	{"Docker", "daemon/exec.go by translateContainerdStartErr: 127", []string{"exec", "running", "absent"}, nil, 255,
		"absent.*executable file not found"},
	{"Docker", "daemon/exec.go by translateContainerdStartErr: 126", []string{"exec", "running", "/etc/passwd"}, nil, 255, "permission denied"},
	{"podman", "libpod/oci_util.go getOCIRuntimeError: not found, 127", []string{"create"},
		func(s *specs.Spec) { s.Process.Args[0] = "absent" }, 1, "(?i).*executable file not found in.*|.*no such file or directory.*"},
	{"podman", "libpod/oci_util.go getOCIRuntimeError: permission, 126", []string{"create"},
		func(s *specs.Spec) { s.Process.Args[0] = "/etc/passwd" }, 1, "(?i).*permission denied.*|.*operation not permitted.*"},
	{"podman", "libpod/define/exec_codes.go ExitCode: 127", []string{"exec", "running", "/absent"}, nil, 255, "not found|no such file"},
	{"podman", "libpod/oci_conmon_common.go UpdateContainerStatus: exited", []string{"state", "absent"}, nil, 1,
		"does not exist|No such file"},
}

// TestClientPatterns: what clients look for is in the message, on standard error and as the only error in the log, which containerd
// reads as JSON to its end.
func TestClientPatterns(t *testing.T) {
	l := newLife(t)
	group := l.spec.Linux.CgroupsPath
	for _, id := range []string{"running", "stopped"} {
		l.spec.Linux.CgroupsPath = group + "-" + id
		l.write(t)
		l.create(t, id)
		l.ok(t, "start", id)
	}
	l.ok(t, "kill", "stopped", "KILL")
	require.Eventually(t, func() bool { return l.state(t, "stopped").Status == specs.StateStopped }, time.Minute, time.Millisecond)
	passwd := filepath.Join(l.spec.Root.Path, "etc/passwd")
	require.NoError(t, os.MkdirAll(filepath.Dir(passwd), 0o755))
	require.NoError(t, os.WriteFile(passwd, nil, 0o644))
	l.spec.Linux.CgroupsPath = group
	whole, err := json.Marshal(l.spec)
	require.NoError(t, err)
	for _, c := range clientPatterns {
		t.Run(c.client+" "+strings.Join(c.args, " "), func(t *testing.T) {
			args := c.args
			if c.edit != nil {
				l.spec = &specs.Spec{}
				require.NoError(t, json.Unmarshal(whole, l.spec))
				c.edit(l.spec)
				l.write(t)
				args = []string{"create", "--bundle", l.dir, "new"}
			}
			file := filepath.Join(t.TempDir(), "log.json")
			r := l.run(t, append([]string{"--log", file, "--log-format", "json"}, args...)...)
			require.Equal(t, c.code, r.code, r.stderr)
			require.Regexp(t, c.pattern, r.stderr, c.at)
			log, err := os.ReadFile(file)
			require.NoError(t, err)
			var messages []string
			for d := json.NewDecoder(strings.NewReader(string(log))); d.More(); {
				var line struct {
					Level, Msg string
					Time       time.Time
				}
				require.NoError(t, d.Decode(&line))
				if line.Level == "error" {
					messages = append(messages, line.Msg)
				}
			}
			if c.code == 0 {
				require.Empty(t, messages)
				return
			}
			require.Len(t, messages, 1)
			require.Regexp(t, regexp.MustCompile(c.pattern), messages[0], c.at)
		})
	}
}
