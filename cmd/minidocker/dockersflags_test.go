package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each command of docker's and each flag, by both its names, is there, or is refused with a reason. What is there is there in both trees: a
// command that is refused has no flags.
func TestDockersFlags(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "docker-flags.txt"))
	require.NoError(t, err)
	defer f.Close()
	root := (&app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}).command()
	flags, refused := 0, 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		name, list, listed := strings.Cut(lines.Text(), ":")
		c, rest, err := root.Find(strings.Fields(strings.TrimPrefix(name, "docker")))
		require.NoError(t, err, name)
		require.Empty(t, rest, "%s is not there", name)
		if !listed {
			var no *refusedError
			require.ErrorAs(t, c.RunE(c, nil), &no, "%s is neither there nor refused", name)
			require.Contains(t, no.Error(), name+" is not implemented: ")
			continue
		}
		require.False(t, c.Hidden, name)
		c.InitDefaultHelpFlag()
		for _, flag := range strings.Fields(list) {
			letter, long, ok := strings.Cut(flag, "/")
			if !ok {
				letter, long = "", flag
			}
			have := c.Flag(long)
			require.NotNil(t, have, "%s --%s is neither there nor refused", name, long)
			require.Equal(t, letter, have.Shorthand, "%s --%s", name, long)
			flags++
			if no, is := have.Value.(*refusal); is {
				refused++
				require.NotEmpty(t, no.reason, "%s --%s", name, long)
				var why *refusedError
				require.ErrorAs(t, have.Value.Set(strconv.FormatBool(no.allowed != "true")), &why, "%s --%s", name, long)
				require.Contains(t, why.Error(), "--"+long)
				if no.allowed != "" {
					require.NoError(t, have.Value.Set(no.allowed))
				}
			} else {
				require.NotEmpty(t, have.Usage, "%s --%s", name, long)
			}
		}
	}
	require.NoError(t, lines.Err())
	t.Logf("%d flags, of which %d are refused", flags, refused)
	require.Greater(t, flags, 700)
	require.Less(t, refused, flags/10)
}

// What is typed wrong is answered with what is right.
func TestTypedWrong(t *testing.T) {
	for line, want := range map[string]string{
		"rnu":              "unknown command: minidocker rnu\n\nDid you mean minidocker ",
		"container lss":    "Did you mean minidocker container logs, or ls?",
		"rm":               "'minidocker rm' requires at least 1 argument\n\nUsage:  minidocker rm [OPTIONS] CONTAINER [CONTAINER...]",
		"ps all":           "'minidocker ps' accepts no arguments",
		"port a b c":       "'minidocker port' requires at least 1 and at most 2 arguments",
		"cp a":             "'minidocker cp' requires 2 arguments",
		"images a b":       "'minidocker images' requires at most 1 argument",
		"-H tcp://x ps":    "--host tcp://x is not implemented",
		"run --gpu all x":  "unknown flag: --gpu",
		"network":          "",
		"run --runtime=x":  "--runtime x is not implemented",
		"swarm init --foo": "swarm is not implemented: there is no swarm",
	} {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		require.NoError(t, err)
		defer null.Close()
		a := &app{stdin: null, stdout: null, stderr: null, ctx: t.Context()}
		root := a.command()
		root.SetArgs(strings.Fields(line))
		err = root.Execute()
		if want == "" {
			require.NoError(t, err, line)
			continue
		}
		require.ErrorContains(t, err, want, line)
		require.NotZero(t, a.exit(err))
	}
}
