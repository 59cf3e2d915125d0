package peers

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client is a command with its first arguments, such as podman with those that name the runtime.
type client []string

// A result is what a command did.
type result struct {
	out, errs string // without the last line feed
	code      int
}

// patience bounds what a command may take.
const patience = time.Minute

// do runs the command; input may be empty.
func (c client) do(t testing.TB, input string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all := append(append([]string(nil), c...), args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.WaitDelay, cmd.Dir = time.Second, os.Getenv(envDir) // conmon leaves a file where it is
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if input != "" {
		cmd.Stdin = strings.NewReader(input)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		require.NoError(t, err, "%v", all)
	}
	require.NoError(t, ctx.Err(), "%v took more than %v: %s%s", args, patience, out.String(), errs.String())
	return result{strings.TrimSuffix(out.String(), "\n"), strings.TrimSuffix(errs.String(), "\n"), cmd.ProcessState.ExitCode()}
}

// out runs the command, which must succeed, and returns what it printed.
func (c client) out(t testing.TB, args ...string) string {
	t.Helper()
	r := c.do(t, "", args...)
	require.Equal(t, 0, r.code, "%v: %s%s", args, r.out, r.errs)
	return r.out
}

// fails runs the command, which must exit with code, and returns what it printed on standard error.
func (c client) fails(t testing.TB, code int, args ...string) string {
	t.Helper()
	r := c.do(t, "", args...)
	require.Equal(t, code, r.code, "%v: %s%s", args, r.out, r.errs)
	return r.errs
}

// terminal runs the command on a terminal of 33 rows and 99 columns with the input, and returns what was shown.
func (c client) terminal(t testing.TB, input string, args ...string) result {
	t.Helper()
	words := []string{"stty rows 33 cols 99;"}
	for _, w := range append(append([]string(nil), c...), args...) {
		words = append(words, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
	}
	r := client{"script", "-qefc", strings.Join(words, " "), os.DevNull}.do(t, input)
	r.out = strings.NewReplacer("\r", "", "^@", "").Replace(r.out) // the latter is the echo of the input's end
	return r
}

// sized waits in a container until its terminal has the size of that of client.terminal.
const sized = `until [ "$(stty size)" = "33 99" ]; do sleep 0.1; done`

// eventually fails unless ok becomes true.
func eventually(t testing.TB, ok func() bool, format string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.Fail(t, "not in time", append([]any{format}, args...)...)
		}
	}
}
