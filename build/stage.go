package build

import (
	"cmp"
	"errors"
	"runtime"
	"strconv"
	"strings"
)

// A stage is a FROM and what follows it.
type stage struct {
	number   int
	name     string // of AS, in lower case
	from     instruction
	base     string // an image's name, "scratch", or that of a stage
	parent   *stage // the stage that base is
	platform string
	steps    []instruction
	needs    []*stage
}

func (s *stage) String() string { return cmp.Or(s.name, strconv.Itoa(s.number)) }

// A plan is what is to be built: the stages that the last of them needs, in order.
type plan struct {
	stages []*stage // all
	needed []*stage
	meta   *variables // those of ARG before the first FROM
	escape rune
	steps  int // of needed, FROM included
}

// find returns the stage that a name or number stands for, of those before s.
func (p *plan) find(name string, before int) *stage {
	for i := before - 1; i >= 0; i-- {
		if s := p.stages[i]; s.name != "" && s.name == strings.ToLower(name) {
			return s
		}
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < before {
		return p.stages[n]
	}
	return nil
}

// newPlan sorts a Dockerfile into stages, and chooses those that are needed.
func newPlan(d *dockerfile, o *Options) (*plan, error) {
	p := &plan{meta: newVariables(), escape: d.escape}
	file := o.file()
	globals := platformArgs(o.Platform)
	seen := newVariables(globals.list)
	for _, x := range d.instructions {
		var err error
		switch {
		case x.name == "FROM":
			err = p.addStage(&x, seen)
		case len(p.stages) == 0 && x.name == "ARG":
			err = p.addMeta(&x, seen, o)
		case len(p.stages) == 0:
			err = bad("no build stage in current context: %s comes before FROM", x.name)
		default:
			last := p.stages[len(p.stages)-1]
			last.steps = append(last.steps, x)
			err = p.note(last, &x)
		}
		if err != nil {
			return nil, &SyntaxError{File: file, Line: x.line, Err: err}
		}
	}
	if len(p.stages) == 0 {
		return nil, &SyntaxError{File: file, Err: bad("no FROM: there is nothing to build on")}
	}
	target := p.stages[len(p.stages)-1]
	if o.Target != "" {
		if target = p.find(o.Target, len(p.stages)); target == nil {
			return nil, &SyntaxError{File: file, Err: bad("target stage %q could not be found", o.Target)}
		}
	}
	need := map[*stage]bool{}
	var visit func(*stage)
	visit = func(s *stage) {
		if need[s] {
			return
		}
		need[s] = true
		for _, n := range s.needs {
			visit(n)
		}
	}
	visit(target)
	for _, s := range p.stages {
		if need[s] {
			p.needed = append(p.needed, s)
			p.steps += 1 + len(s.steps)
		}
	}
	return p, nil
}

func (p *plan) addMeta(x *instruction, seen *variables, o *Options) error {
	list, err := argPairs(x, p.escape, seen)
	if err != nil {
		return err
	}
	for _, a := range list {
		value, given := o.Args[a.name]
		if !given && !a.set {
			continue
		}
		if !given {
			value = a.value
		}
		if err := errors.Join(p.meta.set(a.name, value), seen.set(a.name, value)); err != nil {
			return err
		}
	}
	return nil
}

// argPairs reads what ARG has: names with or without a value.
func argPairs(x *instruction, escape rune, v *variables) (list []pair, err error) {
	if _, err := x.only(); err != nil {
		return nil, err
	}
	for _, w := range quotedWords(x.rest, escape) {
		name, value, set := strings.Cut(w, "=")
		if name, err = expand(name, escape, v); err != nil {
			return nil, err
		}
		if name == "" {
			return nil, bad("ARG names can not be blank")
		}
		if value, err = expand(value, escape, v); err != nil {
			return nil, err
		}
		list = append(list, pair{name, value, set})
	}
	return list, nil
}

// addStage reads "FROM [--platform=p] image [AS name]".
func (p *plan) addStage(x *instruction, v *variables) error {
	flags, err := x.only("platform")
	if err != nil {
		return err
	}
	s := &stage{number: len(p.stages), from: *x}
	if f := flags["platform"]; f != nil {
		if s.platform, err = expand(f[0], p.escape, v); err != nil {
			return err
		}
	}
	list := strings.Fields(x.rest)
	switch {
	case len(list) == 3 && strings.EqualFold(list[1], "AS"):
		if s.name = strings.ToLower(list[2]); !stageName(s.name) {
			return bad("invalid name for build stage: %q, name can't start with a number or contain symbols", list[2])
		}
	case len(list) != 1:
		return bad("FROM requires either one or three arguments")
	}
	if s.base, err = expand(list[0], p.escape, v); err != nil {
		return err
	}
	if s.base == "" {
		return bad("base name (%s) should not be blank", list[0])
	}
	for i := len(p.stages) - 1; i >= 0 && s.parent == nil; i-- { // by name only
		if o := p.stages[i]; o.name != "" && o.name == strings.ToLower(s.base) {
			s.parent = o
			s.needs = append(s.needs, o)
		}
	}
	p.stages = append(p.stages, s)
	return nil
}

// stageName says whether a stage may be called so.
func stageName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))) {
			return false
		}
	}
	return s != "" && s != "scratch" && s != "context"
}

// note notes which stages a step needs, and refuses what can be refused before anything runs.
func (p *plan) note(s *stage, x *instruction) error {
	var from []string
	for _, f := range x.flags {
		switch {
		case f.name == "from" && x.name == "COPY":
			from = append(from, f.value)
		case f.name == "mount" && x.name == "RUN":
			m, err := parseRunMount(f.value)
			if err != nil {
				return err
			}
			if m.from != "" {
				from = append(from, m.from)
			}
		}
	}
	for _, name := range from {
		if n := p.find(name, s.number); n != nil {
			s.needs = append(s.needs, n)
		} else if self := p.find(name, s.number+1); self != nil {
			return bad("%s: a stage cannot copy from itself", name)
		} else if _, err := strconv.Atoi(name); err == nil {
			return bad("invalid from flag value %s: there is no such stage before", name)
		}
	}
	return x.check()
}

// check refuses flags that are not known.
func (x *instruction) check() error {
	known := map[string][]string{
		"ADD": {"chown", "chmod", "link", "checksum"}, "COPY": {"chown", "chmod", "link", "from"}, "RUN": {"mount", "network"},
		"HEALTHCHECK": {"interval", "timeout", "start-period", "start-interval", "retries"},
	}
	_, err := x.only(known[x.name]...)
	return err
}

// platformArgs are the variables that tell of platforms, which ARG declares.
func platformArgs(target string) *variables {
	v := newVariables()
	for prefix, platform := range map[string]string{"BUILD": "", "TARGET": target} {
		if platform == "" {
			platform = runtime.GOOS + "/" + runtime.GOARCH
		}
		parts := append(strings.SplitN(platform, "/", 3), "", "")
		v.put(prefix+"PLATFORM", platform)
		v.put(prefix+"OS", parts[0])
		v.put(prefix+"ARCH", parts[1])
		v.put(prefix+"VARIANT", parts[2])
	}
	return v
}
