package build

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
)

// try builds a Dockerfile.
func try(t *testing.T, e *engine.Engine, c *Context, dockerfile string, o *Options) (*image.Image, string, error) {
	t.Helper()
	if o == nil {
		o = &Options{}
	}
	var out bytes.Buffer
	o.Output, o.Content = &out, []byte(dockerfile)
	o.Container.Network = "none"
	img, err := Build(t.Context(), e, c, o)
	return img, out.String(), err
}

// must builds a Dockerfile that is right.
func must(t *testing.T, e *engine.Engine, c *Context, dockerfile string, o *Options) (*image.Image, string) {
	t.Helper()
	img, out, err := try(t, e, c, dockerfile, o)
	require.NoError(t, err, out)
	return img, out
}

// TestInstructions looks at what each instruction leaves in the image.
func TestInstructions(t *testing.T) {
	e := newEngine(t)
	files := func() *Context {
		return stream(t, file{name: "a", content: "A"}, file{name: "dir/"}, file{name: "dir/b", content: "B", mode: 0o600},
			file{name: "dir/link", link: "b"}, file{name: "dir/sub/"}, file{name: "dir/sub/c", content: "C"},
			file{name: "to", link: "dir/b"}, file{name: ".dockerignore", content: "secret*\n!secret-not\nlog/**\n!log/keep\n"},
			file{name: "secret", content: "S"}, file{name: "secret-not", content: "N"}, file{name: "log/drop"}, file{name: "log/keep", content: "K"},
			file{name: "x.tar", content: string(tarOf(t, file{name: "in/"}, file{name: "in/tar", content: "T"}))})
	}
	for name, test := range map[string]struct{ dockerfile, script, want string }{
		"run":             {"FROM base\nRUN echo hi >/x", "cat /x", "hi\n"},
		"run exec":        {"FROM base\nRUN [\"touch\", \"/$x\"]", "ls /\\$x", "/$x\n"},
		"run user, dir":   {"FROM base\nUSER app\nWORKDIR /tmp/w\nUSER app\nRUN id -u >/tmp/o; pwd >>/tmp/o", "cat /tmp/o; stat -c %u /tmp/w", "1000\n/tmp/w\n0\n"},
		"env":             {"FROM base\nENV a=1 b=\"2 3\"\nENV c $a$b\nENV a=5 d=$a\nRUN echo $a-$b-$c-$d >/x", "cat /x; echo $d", "5-2 3-12 3-1\n1\n"},
		"expansion":       {"FROM base\nENV a=1\nRUN mkdir /${a:+yes} /${n:-no}\nWORKDIR /w$a", "ls -d /yes /no /w1", "/no\n/w1\n/yes\n"},
		"arg":             {"ARG v=base\nFROM $v\nARG v\nARG w=1\nRUN echo $v $w >/x", "cat /x; echo $w.", "base 1\n.\n"},
		"shell":           {"FROM base\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN false || true; echo $0 >/x", "cat /x", "/bin/sh\n"},
		"heredoc":         {"FROM base\nRUN <<E\necho 1 >/x\necho 2 >>/x\nE", "cat /x", "1\n2\n"},
		"heredoc shebang": {"FROM base\nRUN <<E\n#!/bin/cat\ntext\nE\nRUN cat <<'E' >/x; ls /dev\n$HOME\nE", "cat /x", "$HOME\n"},
		"copy heredoc":    {"FROM base\nENV v=1\nCOPY <<a <<'b' /d/\n$v\na\n$v\nb", "cat /d/a /d/b", "1\n$v\n"},
		"copy file":       {"FROM base\nCOPY a /x", "cat /x; stat -c %u:%g:%a /x", "A0:0:644\n"},
		"copy to folder":  {"FROM base\nCOPY a /tmp", "cat /tmp/a; stat -c %a /tmp", "A1777\n"},
		"copy dir":        {"FROM base\nCOPY dir /x", "cat /x/b /x/link /x/sub/c; readlink /x/link; stat -c %a /x/b", "BBCb\n600\n"},
		"copy wildcard":   {"FROM base\nCOPY dir/?  a /x/", "ls /x", "a\nb\n"},
		"copy through":    {"FROM base\nCOPY to /x", "stat -c %F /x; cat /x", "regular file\nB"},
		"copy relative":   {"FROM base\nWORKDIR /w\nCOPY a sub/\nCOPY a .", "ls /w /w/sub", "/w:\na\nsub\n\n/w/sub:\na\n"},
		"copy all":        {"FROM base\nCOPY . /x", "ls /x /x/log", "/x:\na\ndir\nlog\nsecret-not\nto\nx.tar\n\n/x/log:\nkeep\n"},
		"copy onto link":  {"FROM base\nRUN mkdir /real; ln -s /real /link; ln -s /real/f /flink\nCOPY dir /link/\nCOPY a /flink", "ls /real; cat /real/f", "b\nf\nlink\nsub\nA"},
		"copy chown":      {"FROM base\nCOPY --chown=app:staff --chmod=4711 dir /x", "stat -c %u:%g:%a /x /x/b /x/sub/c", "1000:2000:755\n1000:2000:4711\n1000:2000:4711\n"},
		"copy chown id":   {"FROM base\nCOPY --chown=7 a /x\nCOPY --chown=app a /y", "stat -c %u:%g /x /y", "7:7\n1000:1000\n"},
		"copy from":       {"FROM base AS one\nRUN mkdir /o; echo 1 >/o/f; chmod 640 /o/f; stat /o/f; ln /o/f /o/g\nFROM base\nCOPY --from=one /o /p\nCOPY --from=base /etc/group /g\nCOPY --from=0 --chown=app /o/f /h", "stat -c %a:%h /p/f; cat /p/f; head -n 1 /g; stat -c %u /h", "640:2\n1\nroot:x:0:\n1000\n"},
		"add tar":         {"FROM base\nADD x.tar /y/\nCOPY x.tar /z/", "cat /y/in/tar; ls /z", "Tx.tar\n"},
		"from stage":      {"FROM base AS a\nENV q=1\nFROM a\nRUN echo $q >/x", "cat /x", "1\n"},
		"unused stage":    {"FROM base AS no\nRUN false\nFROM base", "echo", "\n"},
		"tmpfs":           {"FROM base\nRUN --mount=type=tmpfs,target=/t,size=1m echo >/t/x", "ls /t", ""},
		"bind":            {"FROM base\nRUN --mount=target=/c,source=dir cat /c/b >/x; ! touch /c/y", "cat /x", "B"},
		"bind from":       {"FROM base AS a\nRUN echo 1 >/f\nFROM base\nRUN --mount=from=a,target=/c cat /c/f >/x", "cat /x", "1\n"},
		"volume":          {"FROM base\nVOLUME /v\nRUN echo 1 >/v/x; echo 2 >/y", "ls /v; cat /y", "2\n"},
		"escape":          {"# escape=`\nFROM base\nRUN echo 1 `\n # comment\n\n 2 >/x", "cat /x", "1 2\n"},
		"network":         {"FROM base\nRUN --network=none ls /sys/class/net >/x", "cat /x", "lo\n"},
	} {
		t.Run(name, func(t *testing.T) {
			img, _ := must(t, e, files(), test.dockerfile, nil)
			require.Equal(t, test.want, inside(t, e, img.ID.String(), test.script))
		})
	}
}

// TestConfiguration looks at the configuration that instructions make.
func TestConfiguration(t *testing.T) {
	e := newEngine(t)
	img, out := must(t, e, nil, `FROM base
MAINTAINER me
LABEL a=b "c d"='e f'
EXPOSE 80 53/udp 90-91
VOLUME ["/v", "/w"]
USER app
WORKDIR /tmp
WORKDIR sub
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --retries=3 CMD true
ENTRYPOINT ["e"]
CMD c d
ONBUILD RUN echo trigger >/tmp/o
SHELL ["/bin/sh", "-c"]
`, &Options{Tags: []string{"one", "localhost:5000/two:3"}, Labels: map[string]string{"z": "y"}})
	c := img.Config.Config
	require.Equal(t, map[string]string{"a": "b", "c d": "e f", "z": "y"}, c.Labels)
	require.Equal(t, map[string]struct{}{"80/tcp": {}, "53/udp": {}, "90/tcp": {}, "91/tcp": {}}, c.ExposedPorts)
	require.Equal(t, map[string]struct{}{"/v": {}, "/w": {}}, c.Volumes)
	require.Equal(t, []string{"app", "/tmp/sub", "SIGINT"}, []string{c.User, c.WorkingDir, c.StopSignal})
	require.Equal(t, []string{"e"}, c.Entrypoint)
	require.Equal(t, []string{"/bin/sh", "-c", "c d"}, c.Cmd)
	require.Equal(t, "me", img.Config.Author)
	for _, part := range []string{
		`"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":3}`, `"OnBuild":["RUN echo trigger >/tmp/o"]`,
		`"Shell":["/bin/sh","-c"]`,
	} {
		require.Contains(t, string(img.ConfigJSON), part)
	}
	require.Contains(t, out, "Step 1/15 : FROM base\n ---> ")
	require.Contains(t, out, "Successfully built "+img.ID.Encoded()[:12]+"\nSuccessfully tagged one:latest\nSuccessfully tagged localhost:5000/two:3\n")
	require.Len(t, img.Layers, 2) // the base's, and WORKDIR's

	// Entrypoint takes the base's command away, but not one of the same file; the trigger is run once.
	child, out := must(t, e, nil, "FROM one\nENTRYPOINT f\n", nil)
	require.Contains(t, out, "# Executing 1 build trigger\n")
	require.Empty(t, child.Config.Config.Cmd)
	require.NotContains(t, string(child.ConfigJSON), `"OnBuild"`)
	require.Contains(t, string(child.ConfigJSON), `"Healthcheck"`)
	require.Equal(t, "trigger\n", inside(t, e, child.ID.String(), "cat /tmp/o"))
	none, _ := must(t, e, nil, "FROM one\nHEALTHCHECK NONE", nil)
	require.Contains(t, string(none.ConfigJSON), `"Healthcheck":{"Test":["NONE"]}`)
}

// TestScratch builds on nothing.
func TestScratch(t *testing.T) {
	e := newEngine(t)
	img, _ := must(t, e, nil, "FROM base AS b\nFROM scratch\nCOPY --from=b /bin /bin\nCOPY --chown=5:6 <<a /f\nx\na", nil)
	require.Len(t, img.Layers, 2)
	require.Equal(t, "5:6\n", inside(t, e, img.ID.String(), "stat -c %u:%g /f"))
	require.Equal(t, "linux", img.Config.OS)
	img, _ = must(t, e, nil, "FROM scratch\nLABEL a=b", nil)
	require.Equal(t, "b", img.Config.Config.Labels["a"])
	_, _, err := try(t, e, nil, "FROM scratch", nil)
	require.ErrorContains(t, err, "no image was generated")
	_, _, err = try(t, e, nil, "FROM scratch\nRUN true", nil)
	require.ErrorContains(t, err, "nothing to run")
}

// TestFailures looks at the words of errors, and that nothing is left.
func TestFailures(t *testing.T) {
	e := newEngine(t)
	for dockerfile, want := range map[string]string{
		"FROM base\n\nRUN exit 3":                               "Dockerfile:3: RUN: The command '/bin/sh -c exit 3' returned a non-zero code: 3",
		"FROM base\nRUN [\"/none\"]":                            "returned a non-zero code: 127",
		"FROM base\nCOPY none /x":                               "Dockerfile:2: COPY: COPY failed: file not found in build context or excluded by .dockerignore: stat none",
		"FROM base\nCOPY ../x /x":                               "forbidden path outside the build context: ../x",
		"FROM base\nCOPY a":                                     "requires at least two arguments",
		"FROM base\nCOPY --from=5 a b":                          "there is no such stage before",
		"FROM base AS x\nCOPY --from=x a b":                     "cannot copy from itself",
		"FROM base\nCOPY a a /etc":                              "must be a directory and end with a /",
		"FROM base\nCOPY --chown=nobodyhere a /x":               "nobodyhere",
		"FROM base\nCOPY a /etc/passwd/x":                       "not a folder",
		"FROM base\nCOPY --parents a /x":                        "COPY --parents is not implemented",
		"FROM base\nRUN --security=insecure true":               "RUN --security is not implemented",
		"FROM base\nRUN --mount=type=ssh true":                  "ssh are not implemented",
		"FROM base\nRUN --mount=type=bind true":                 "the target is missing",
		"FROM base\nADD git@github.com:a/b /x":                  "git are not implemented",
		"FROM base\nFOO x":                                      "unknown instruction: FOO",
		"FROM base\nENV a":                                      "ENV must have two arguments",
		"FROM base\nLABEL":                                      "Dockerfile:2: dockerfile parse error: LABEL requires an argument",
		"RUN x":                                                 "comes before FROM",
		"":                                                      "no instructions",
		"FROM base\nRUN <<E\nx":                                 "unterminated heredoc",
		"FROM base\nEXPOSE 99999":                               "invalid containerPort",
		"FROM base\nONBUILD FROM x":                             "FROM isn't allowed as an ONBUILD trigger",
		"FROM base\nHEALTHCHECK --interval=1 CMD x":             "--interval=1",
		"FROM base\nSHELL x":                                    "JSON form",
		"FROM base\nSTOPSIGNAL NONE":                            "NONE",
		"FROM base\nRUN --mount=type=secret,id=a,required true": "secret a: not found",
	} {
		_, _, err := try(t, e, stream(t, file{name: "a"}), dockerfile, nil)
		require.ErrorContains(t, err, want, dockerfile)
		var where *SyntaxError
		require.ErrorAs(t, err, &where)
	}
	_, _, err := try(t, e, nil, "FROM base\nRUN exit 7", nil)
	var run *RunError
	require.True(t, errors.As(err, &run))
	require.Equal(t, 7, run.Code)
	_, _, err = try(t, e, nil, "FROM base", &Options{Target: "none"})
	require.ErrorContains(t, err, `target stage "none" could not be found`)
	_, _, err = try(t, e, nil, "FROM base", &Options{Tags: []string{"a//b"}})
	require.ErrorContains(t, err, `tag "a//b"`)
	list, err := e.Images(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
}
