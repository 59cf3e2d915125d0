package build

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Variables are those that an instruction sees, in the order in which they came.
type variables struct {
	list []string       // name=value
	at   map[string]int // where a name is in list
	size int            // of list, in bytes
}

// Bounds of variables: of all, and of what they give to one text, in bytes.
const (
	maxVariables = 1 << 20
	maxExpansion = 1 << 18
)

var errVariables = fmt.Errorf("variables of more than %d bytes: %w", maxVariables, errTooLarge)

// newVariables are those of lists; of several with one name the last one's value counts.
func newVariables(lists ...[]string) *variables {
	v := &variables{at: map[string]int{}}
	for _, list := range lists {
		for _, e := range list {
			v.put(cut(e))
		}
	}
	return v
}

func (v *variables) Get(name string) (string, bool) {
	i, ok := v.at[name]
	if !ok {
		return "", false
	}
	return v.list[i][len(name)+1:], true
}

// Keys returns the names.
func (v *variables) Keys() []string {
	names := make([]string, len(v.list))
	for i, e := range v.list {
		names[i], _, _ = strings.Cut(e, "=")
	}
	return names
}

func (v *variables) put(name, value string) {
	e := name + "=" + value
	v.size += len(e)
	if i, ok := v.at[name]; ok {
		v.size -= len(v.list[i])
		v.list[i] = e
		return
	}
	v.at[name] = len(v.list)
	v.list = append(v.list, e)
}

// set is put, unless they are too many then.
func (v *variables) set(name, value string) error {
	if v.put(name, value); v.size+16*len(v.list) > maxVariables {
		return errVariables
	}
	return nil
}

// A giver gives variables to one text, and as many bytes as it may.
type giver struct {
	shell.EnvGetter
	left int
}

func (g *giver) Get(name string) (string, bool) {
	value, ok := g.EnvGetter.Get(name)
	if g.left -= len(value); g.left < 0 {
		return "", ok
	}
	return value, ok
}

// replaced is ${name//pattern/text}, which may give more than it is made of.
var replaced = regexp.MustCompile(`\$\{[^{}]*//[^{}]*\{?`)

// maxNested bounds how deep ${a:-${b}} may go.
const maxNested = 1000

// give calls f, which expands text, with what gives it variables, so that no text is larger than memory.
func give(text string, v shell.EnvGetter, f func(shell.EnvGetter) error) error {
	if strings.Count(text, "${") > maxNested {
		deep := 0
		for i := range len(text) {
			switch {
			case strings.HasPrefix(text[i:], "${"):
				deep++
			case text[i] == '}' && deep > 0:
				deep--
			}
			if deep > maxNested {
				return bad("variables that are nested more than %d times", maxNested)
			}
		}
	}
	g := &giver{v, maxExpansion}
	for _, r := range replaced.FindAllString(text, -1) {
		if strings.HasSuffix(r, "{") {
			return fmt.Errorf("%.100s: variables in braces within a replacement are not implemented: %w", r, errors.ErrUnsupported)
		}
		g.left = min(g.left, 1<<12, (1<<26)/len(r))
	}
	err := f(g)
	if g.left < 0 {
		return fmt.Errorf("%.100s: the variables' values are too long: %w", text, errTooLarge)
	}
	if err != nil {
		return bad("%v", err)
	}
	return nil
}

// expand replaces variables in a word, and takes quotes and escapes off.
func expand(word string, escape rune, v shell.EnvGetter) (out string, err error) {
	err = give(word, v, func(v shell.EnvGetter) error {
		out, _, err = shell.NewLex(escape).ProcessWord(word, v)
		return err
	})
	return out, err
}

// expandWords is expand for several words; a variable may stand for several.
func expandWords(word string, escape rune, v shell.EnvGetter) (list []string, err error) {
	err = give(word, v, func(v shell.EnvGetter) error {
		list, err = shell.NewLex(escape).ProcessWords(word, v)
		return err
	})
	return list, err
}

// expandText replaces variables in a here-document: quotes have no meaning there.
func expandText(text string, v shell.EnvGetter) (out string, err error) {
	lex := shell.NewLex('\\')
	lex.SkipProcessQuotes = true
	err = give(text, v, func(v shell.EnvGetter) error {
		out, _, err = lex.ProcessWord(text, v)
		return err
	})
	return out, err
}
