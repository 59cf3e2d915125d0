package build

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	buildkit "github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/require"
)

// TestParse looks at what is particular of the language.
func TestParse(t *testing.T) {
	d, err := parse("f", []byte("\xef\xbb\xbf# Syntax = docker/dockerfile:1\r\n#escape=`\n# comment\nfrom --platform=\"a b\" x AS y\r\n"+
		"RUN a `\n  # inside\n\n b c\nCOPY [\"a b\", 'x']\nCOPY [\"a b\", \"c\"]\nRUN <<-A 3<<\"B\" cat\n\tx\n\tA\n$y\nB\n"))
	require.NoError(t, err)
	require.Equal(t, '`', d.escape)
	var got []string
	for _, x := range d.instructions {
		got = append(got, x.name+"|"+x.rest)
	}
	require.Equal(t, []string{"FROM|x AS y", "RUN|a  b c", "COPY|[\"a b\", 'x']", "COPY|[\"a b\", \"c\"]", "RUN|<<-A 3<<\"B\" cat"}, got)
	require.Equal(t, []flag{{"platform", "a b", true}}, d.instructions[0].flags)
	require.False(t, d.instructions[2].isList)
	require.Equal(t, []string{"a b", "c"}, d.instructions[3].list)
	require.Equal(t, []heredoc{{"A", "x\n", true, true}, {"B", "$y\n", false, false}}, d.instructions[4].heredocs)
	require.Equal(t, []int{4, 5, 9, 10, 11}, []int{d.instructions[0].line, d.instructions[1].line, d.instructions[2].line, d.instructions[3].line, d.instructions[4].line})
}

// agree compares what is read with what BuildKit's parser reads.
func agree(t *testing.T, text []byte) {
	t.Helper()
	d, err := parse("f", text)
	theirs, theirErr := buildkit.Parse(bytes.NewReader(text))
	if err != nil || theirErr != nil || !utf8.Valid(text) {
		return // some errors BuildKit has later; it takes a flag's bytes for letters
	}
	require.Equal(t, theirs.EscapeToken, d.escape)
	require.Len(t, d.instructions, len(theirs.AST.Children))
	for i, n := range theirs.AST.Children {
		x := d.instructions[i]
		require.Equal(t, strings.ToUpper(n.Value), x.name)
		require.Equal(t, n.StartLine, x.line)
		require.Len(t, x.heredocs, len(n.Heredocs), "%q", x.text)
		for k, h := range n.Heredocs {
			content := h.Content
			if h.Chomp {
				content = buildkit.ChompHeredocContent(content)
			}
			require.Equal(t, []any{h.Name, content, h.Expand, h.Chomp}, []any{x.heredocs[k].name, x.heredocs[k].content, x.heredocs[k].expand, x.heredocs[k].chomp})
		}
		require.Len(t, x.flags, len(n.Flags), "%q", x.text)
		for k, f := range n.Flags {
			mine := "--" + x.flags[k].name
			if x.flags[k].set {
				mine += "=" + x.flags[k].value
			}
			require.Equal(t, f, mine)
		}
		if n.Attributes["json"] && (x.name == "RUN" || x.name == "COPY" || x.name == "CMD") {
			var list []string
			for a := n.Next; a != nil; a = a.Next {
				list = append(list, a.Value)
			}
			require.True(t, x.isList)
			require.Equal(t, list, append([]string(nil), x.list...))
		}
		if x.name == "RUN" && !x.isList && n.Next != nil {
			require.Equal(t, n.Next.Value, x.rest)
		}
	}
}

var dockerfiles = []string{
	"FROM a\nRUN b \\\n c\\\n# d\n e\nCMD [\"x\", \"y\"]\n", "# escape=`\nFROM a\nRUN x `\n y\\\n", "FROM a\nRUN <<E cat >f\n$x\nE\nCOPY <<'A' <<-B /d/\n1\nA\n\t2\n\tB\n",
	"FROM --platform=$p a AS b\nCOPY --from=b --chown=\"1 2\" [\"a b\",\"c\"]\nRUN --mount=type=cache,target=/x echo \\\\\n",
	"ARG a=1\nFROM x$a\nENV a=b c=\"d e\" f\\ g=h\nENV a b c\nLABEL \"a b\"='c d'\nHEALTHCHECK --interval=5s CMD x\n", "from a\nrun a \\\n\n b \\ \n\\\nc\n",
	"\xef\xbb\xbfFROM a\r\nRUN b\\\r\n c\r\n", "FROM a\nRUN echo \"<<x\" <<y\ny\n", "FROM a\nRUN a \\\\\nRUN b\\", "#check=x\n#escape=\\\n\n#escape=`\nFROM a\n",
}

func TestParseAsBuildKit(t *testing.T) {
	for _, text := range dockerfiles {
		agree(t, []byte(text))
		_, err := parse("f", []byte(text))
		require.NoError(t, err, "%q", text)
	}
}

// FuzzDockerfile reads anything, plans it and expands what it has.
func FuzzDockerfile(f *testing.F) {
	for _, text := range dockerfiles {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		agree(t, text)
		d, err := parse("f", text)
		if err != nil {
			return
		}
		p, err := newPlan(d, &Options{Args: map[string]string{"a": "1"}})
		if err != nil {
			return
		}
		b := &builder{o: &Options{}, plan: p, used: map[string]bool{}}
		for _, s := range p.needed {
			st := &state{of: s, args: newVariables(), key: "0"}
			for _, x := range s.steps {
				switch x.name {
				case "RUN":
					_, _ = st.command(&x)
				case "COPY", "ADD":
					_, _ = (&copying{b: b, s: st, x: &x}).arguments()
				case "WORKDIR":
				default:
					_ = b.configure(st, &x)
				}
			}
		}
	})
}
