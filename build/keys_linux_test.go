package build

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/image"
)

// TestOwnKeys builds after each other what differs in what its step does, and not in how that looks in the history.
func TestOwnKeys(t *testing.T) {
	e := newEngine(t)
	for name, test := range map[string]struct {
		one, other func() *image.Image
		script     string
		want       [2]string
	}{
		"words of a command": {
			func() *image.Image {
				img, _ := must(t, e, nil, `FROM base`+"\n"+`RUN ["touch", "/a b"]`, nil)
				return img
			},
			func() *image.Image {
				img, _ := must(t, e, nil, `FROM base`+"\n"+`RUN ["touch", "/a", "b"]`+"\n", nil)
				return img
			},
			"ls -d /a* /b || true", [2]string{"/a b\n", "/a\n/b\n"},
		},
		"a bound stage": {
			func() *image.Image {
				img, _ := must(t, e, stream(t, file{name: "f", content: "1\n"}), "FROM scratch AS a\nCOPY f /f\nFROM base\nRUN --mount=from=a,target=/m cat /m/f >/x", nil)
				return img
			},
			func() *image.Image {
				img, _ := must(t, e, stream(t, file{name: "f", content: "2\n"}), "FROM scratch AS a\nCOPY f /f\nFROM base\nRUN --mount=from=a,target=/m cat /m/f >/x", nil)
				return img
			},
			"cat /x", [2]string{"1\n", "2\n"},
		},
	} {
		require.Equal(t, test.want[0], inside(t, e, test.one().ID.String(), "("+test.script+") 2>/dev/null"), name)
		require.Equal(t, test.want[1], inside(t, e, test.other().ID.String(), "("+test.script+") 2>/dev/null"), name)
	}
	// The entrypoint takes a command away that another stage has.
	img, _ := must(t, e, nil, "FROM base\nCMD [\"x\"]\nENTRYPOINT [\"y\"]", nil)
	require.Equal(t, []string{"x"}, img.Config.Config.Cmd)
	img, _ = must(t, e, nil, "FROM base AS a\nCMD [\"x\"]\nFROM a\nENTRYPOINT [\"y\"]", nil)
	require.Empty(t, img.Config.Config.Cmd)
}

// TestHostileLinks: a link that leads through what is not there, and to itself then, ends.
func TestHostileLinks(t *testing.T) {
	e := newEngine(t)
	const base = "FROM base\nRUN mkdir /real; ln -s none/../l/x /l; ln -s none/../real /k; ln -s none/sub/.. /n; ln -s none/../k /o\n"
	for _, to := range []string{"COPY a /l/", "COPY a /l/b/c", "WORKDIR /l", "COPY --from=base /etc/passwd /l"} {
		_, _, err := try(t, e, stream(t, file{name: "a", content: "A"}), base+to, nil)
		require.ErrorContains(t, err, "too many levels of symbolic links", to)
	}
	img, _ := must(t, e, stream(t, file{name: "a", content: "A"}), base+"COPY a /k/\nCOPY a /n/\nCOPY a /o/b\n", nil)
	require.Equal(t, "/none:\na\n\n/real:\na\nb\n", inside(t, e, img.ID.String(), "ls /none /real; test -L /o; test -L /k"))
}

// TestExplosions: what a small context stands for is bounded.
func TestExplosions(t *testing.T) {
	e := newEngine(t)
	loops := []file{{name: "d/"}, {name: "d/a"}, {name: "d/b"}, {name: "d/c"}, {name: "d/e"}}
	for _, name := range []string{"0", "1", "2", "3", "4", "5", "6", "7"} {
		loops = append(loops, file{name: "l" + name, link: "."}, file{name: "m" + name, link: "d"})
	}
	_, _, err := try(t, e, stream(t, loops...), "FROM scratch\nCOPY l*/l*/l*/l*/l*/l*/l*/l*/l*/l*/l*/l*/m* /x/", &Options{MaxNames: 1000})
	require.ErrorIs(t, err, errTooLarge)
	_, _, err = try(t, e, stream(t, loops...), "FROM scratch\nCOPY m* /x/", &Options{MaxNames: 25})
	require.ErrorContains(t, err, "names")
	_, _, err = try(t, e, nil, "FROM base\nRUN --mount=type=tmpfs,target=/t,\\\"size=1m,dev,suid\\\" true", nil)
	require.ErrorContains(t, err, "is no size")
	deep := file{name: longName(5000)}
	_, _, err = try(t, e, stream(t, deep), "FROM scratch\nCOPY . /", nil)
	require.ErrorIs(t, err, errNameTooLong)
	_, _, err = try(t, e, stream(t, file{name: "a.tar", content: string(tarOf(t, deep))}), "FROM scratch\nADD a.tar /", nil)
	require.ErrorIs(t, err, errNameTooLong)
}

func longName(n int) string {
	name := make([]byte, n)
	for i := range name {
		name[i] = "a/"[i%2]
	}
	return string(name) + "a"
}
