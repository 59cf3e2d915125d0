package container

import (
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/namespace"
)

// environ returns Env, of each name the last value, with what is missing of the variables that every command expects.
func (p *Process) environ(home string) []string {
	seen := make(map[string]bool)
	env := make([]string, 0, len(p.Env)+3)
	for _, e := range slices.Backward(p.Env) {
		name, _, _ := strings.Cut(e, "=")
		if !seen[name] {
			seen[name] = true
			env = append(env, e)
		}
	}
	slices.Reverse(env)
	if home == "" {
		home = "/"
	}
	add := func(name, value string) {
		if !seen[name] {
			env = append(env, name+"="+value)
		}
	}
	add("PATH", namespace.DefaultPath)
	add("HOME", home)
	if p.TTY {
		add("TERM", "xterm")
	}
	return env
}
