package build

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Variables are those that an instruction sees, in the order in which they came.
type variables struct{ list []string } // name=value

func (v *variables) Get(name string) (string, bool) {
	i := v.at(name)
	if i < 0 {
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

func (v *variables) at(name string) int {
	return slices.IndexFunc(v.list, func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

func (v *variables) set(name, value string) {
	if i := v.at(name); i >= 0 {
		v.list[i] = name + "=" + value
		return
	}
	v.list = append(v.list, name+"="+value)
}

func (v *variables) clone() *variables { return &variables{slices.Clone(v.list)} }

// expand replaces variables in a word, and takes quotes and escapes off.
func expand(word string, escape rune, v shell.EnvGetter) (string, error) {
	out, _, err := shell.NewLex(escape).ProcessWord(word, v)
	if err != nil {
		return "", bad("%v", err)
	}
	return out, nil
}

// expandWords is expand for several words; a variable may stand for several.
func expandWords(word string, escape rune, v shell.EnvGetter) ([]string, error) {
	list, err := shell.NewLex(escape).ProcessWords(word, v)
	if err != nil {
		return nil, bad("%v", err)
	}
	return list, nil
}

// expandText replaces variables in a here-document: quotes have no meaning there.
func expandText(text string, v shell.EnvGetter) (string, error) {
	lex := shell.NewLex('\\')
	lex.SkipProcessQuotes = true
	out, _, err := lex.ProcessWord(text, v)
	if err != nil {
		return "", bad("%v", err)
	}
	return out, nil
}
