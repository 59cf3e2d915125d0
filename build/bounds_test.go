package build

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBounds reads Dockerfiles that are small and stand for more than memory holds.
func TestBounds(t *testing.T) {
	repeated := func(n int, format string) string {
		var s strings.Builder
		for i := range n {
			fmt.Fprintf(&s, format, i)
		}
		return s.String()
	}
	kib := strings.Repeat("x", 1024)
	doubled := "FROM a\nENV v0=" + kib + "\n"
	for i := range 60 {
		doubled += fmt.Sprintf("ENV v%d=$v%d$v%d\n", i+1, i, i)
	}
	for name, text := range map[string]string{
		"doubled":     doubled,
		"before FROM": strings.ReplaceAll(doubled[len("FROM a\n"):], "ENV", "ARG") + "FROM a",
		"at once":     "FROM a\nENV a=" + kib + "\nLABEL b=" + strings.Repeat("$a", 500_000),
		"replaced":    "FROM a\nENV a=" + kib + kib + "\nLABEL b=${a//x/" + strings.Repeat("y", 500_000) + "}",
		"variables":   "FROM a\nENV " + repeated(100_000, " a%d=1"),
		"arguments":   "FROM a\nARG " + repeated(100_000, " a%d=1"),
		"labels":      "FROM a\nENV a=" + strings.Repeat(kib, 100) + "\n" + repeated(100, "LABEL b%d=$a\n"),
	} {
		require.ErrorIs(t, plan1(t, text), errTooLarge, name)
	}
	require.ErrorContains(t, plan1(t, "FROM a\nLABEL b="+strings.Repeat("${a:-", 100_000)), "nested")
	require.ErrorContains(t, plan1(t, "FROM a\nLABEL b=${a//x/${a//x/y}}"), "not implemented")
	require.NoError(t, plan1(t, "FROM a\nENV a=1.2.3 b=${a//./_}\nLABEL b=${none:-${a}${b}} "+repeated(1000, " c%d=$a")))
}

// plan1 reads a Dockerfile and does what changes the configuration.
func plan1(t *testing.T, text string) error {
	t.Helper()
	d, err := parse("f", []byte(text))
	require.NoError(t, err)
	p, err := newPlan(d, &Options{})
	if err != nil {
		return err
	}
	b := &builder{o: &Options{}, plan: p, used: map[string]bool{}}
	st := &state{of: p.stages[0], args: newVariables(), key: "0"}
	for _, x := range p.stages[0].steps {
		if err := b.configure(st, &x); err != nil {
			return err
		}
	}
	return nil
}

// TestKeys has pairs of steps whose words in the history are the same, and which are not the same.
func TestKeys(t *testing.T) {
	for one, other := range map[string]string{
		"ENV a=1 b=2":                           "ENV a=\"1 b=2\"",
		"LABEL a=1 b=2":                         "LABEL a=\"1 b=2\"",
		"VOLUME [\"/a\", \"/b\"]":               "VOLUME [\"/a /b\"]",
		"SHELL [\"a\", \"b\"]":                  "SHELL [\"a b\"]",
		"HEALTHCHECK --start-interval=5s CMD x": "HEALTHCHECK CMD x",
	} {
		var keys []string
		for _, text := range []string{one, other} {
			d, err := parse("f", []byte("FROM a\n"+text))
			require.NoError(t, err)
			p, err := newPlan(d, &Options{})
			require.NoError(t, err)
			s := &state{of: p.stages[0], args: newVariables()}
			require.NoError(t, (&builder{o: &Options{}, plan: p, used: map[string]bool{}}).configure(s, &p.stages[0].steps[0]))
			keys = append(keys, s.key)
			keys = append(keys, s.history[0].CreatedBy)
		}
		require.NotEqual(t, keys[0], keys[2], one)
	}
}

// TestPlatformArgs: variables of the platform are those of the build, not of the stage that FROM gives another.
func TestPlatformArgs(t *testing.T) {
	d, err := parse("f", []byte("FROM --platform=$BUILDPLATFORM a\nARG TARGETPLATFORM TARGETARCH TARGETVARIANT BUILDARCH\n"))
	require.NoError(t, err)
	o := &Options{Platform: "linux/arm/v7"}
	p, err := newPlan(d, o)
	require.NoError(t, err)
	require.Equal(t, runtime.GOOS+"/"+runtime.GOARCH, p.stages[0].platform)
	s := &state{of: p.stages[0], args: newVariables()}
	require.NoError(t, (&builder{o: o, plan: p, used: map[string]bool{}}).configure(s, &p.stages[0].steps[0]))
	for name, want := range map[string]string{"TARGETPLATFORM": "linux/arm/v7", "TARGETARCH": "arm", "TARGETVARIANT": "v7"} {
		got, _ := s.args.Get(name)
		require.Equal(t, want, got)
	}
}
