package build

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/engine"
)

func cut(env string) (name, value string) {
	name, value, _ = strings.Cut(env, "=")
	return name, value
}

// predefined are variables that RUN has when they are given, without ARG, and that are kept out of history and keys.
var predefined = map[string]bool{
	"HTTP_PROXY": true, "http_proxy": true, "HTTPS_PROXY": true, "https_proxy": true, "FTP_PROXY": true, "ftp_proxy": true,
	"NO_PROXY": true, "no_proxy": true, "ALL_PROXY": true, "all_proxy": true,
}

// configure does the instructions that change the configuration alone.
func (b *builder) configure(s *state, x *instruction) error {
	c := &s.config
	esc := b.plan.escape
	text := x.name + " " + x.rest
	switch x.name {
	case "ENV", "LABEL":
		list, err := x.pairs(esc)
		if err != nil {
			return err
		}
		v := s.env() // as it was before the instruction
		env := newVariables(c.Env)
		var all strings.Builder
		for _, p := range list {
			if p.name, err = expand(p.name, esc, v); err != nil {
				return err
			}
			if p.value, err = expand(p.value, esc, v); err != nil {
				return err
			}
			if p.name == "" {
				return bad("%s names can not be blank", x.name)
			}
			all.WriteString(" " + p.name + "=" + p.value)
			if x.name == "ENV" {
				if err := env.set(p.name, p.value); err != nil {
					return err
				}
				continue
			}
			if c.Labels == nil {
				c.Labels = map[string]string{}
			}
			c.Labels[p.name] = p.value
		}
		if text = x.name + all.String(); x.name == "ENV" {
			c.Env = env.list
		}
	case "ARG":
		return b.arg(s, x)
	case "CMD", "ENTRYPOINT":
		list := x.list
		if !x.isList {
			list = append(s.shell(), x.rest)
			if x.rest == "" {
				list = nil
			}
		}
		text = x.name + " " + quoted(list)
		if x.name == "CMD" {
			c.Cmd, s.cmdSet = list, true
			break
		}
		c.Entrypoint = list
		if !s.cmdSet { // it was meant for the entrypoint of the base
			c.Cmd = nil
		}
	case "EXPOSE":
		list, err := expandWords(x.rest, esc, s.env())
		if err != nil {
			return err
		}
		ports, err := exposed(list)
		if err != nil {
			return err
		}
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		for _, p := range ports {
			c.ExposedPorts[p] = struct{}{}
		}
		sort.Strings(list)
		text = "EXPOSE " + strings.Join(list, " ")
	case "VOLUME":
		list := x.list
		if !x.isList {
			list = strings.Fields(x.rest)
		}
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		var all []string
		env := s.env()
		for _, v := range list {
			v, err := expand(v, esc, env)
			if err != nil {
				return err
			}
			if v = strings.TrimSpace(v); v == "" {
				return bad("VOLUME specified can not be an empty string")
			}
			c.Volumes[v] = struct{}{}
			all = append(all, v)
		}
		if len(all) == 0 {
			return bad("VOLUME requires at least one argument")
		}
		text = fmt.Sprintf("VOLUME %v", all)
	case "USER", "STOPSIGNAL", "MAINTAINER":
		v := x.rest
		var err error
		if x.name != "MAINTAINER" {
			if v, err = expand(v, esc, s.env()); err != nil {
				return err
			}
		}
		if v == "" {
			return bad("%s requires an argument", x.name)
		}
		switch x.name {
		case "USER":
			c.User = v
		case "STOPSIGNAL":
			if _, err := engine.ParseSignal(v); err != nil {
				return err
			}
			c.StopSignal = v
		default:
			s.author = v
		}
		text = x.name + " " + v
	case "SHELL":
		if !x.isList || len(x.list) == 0 {
			return bad(`SHELL requires the arguments to be in JSON form: ["executable", "parameter"]`)
		}
		c.Shell = x.list
		text = fmt.Sprintf("SHELL %v", x.list)
	case "HEALTHCHECK":
		h, err := x.healthcheck()
		if err != nil {
			return err
		}
		c.Healthcheck = h
		text = fmt.Sprintf("HEALTHCHECK &{%q %q %q %q '%d'}", h.Test, short(h.Interval), short(h.Timeout), short(h.StartPeriod), h.Retries)
	case "ONBUILD":
		t, err := newInstruction(x.rest, esc)
		if err != nil {
			return err
		}
		switch t.name {
		case "ONBUILD":
			return bad("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
		case "MAINTAINER", "FROM":
			return bad("%s isn't allowed as an ONBUILD trigger", t.name)
		}
		if len(x.heredocs) > 0 {
			return bad("a here-document in ONBUILD")
		}
		if err := t.check(); err != nil {
			return err
		}
		c.OnBuild = append(c.OnBuild, x.rest)
	default:
		return bad("unknown instruction: %s", x.name)
	}
	return b.note(s, text)
}

// short is a duration as history shows it.
func short(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	return d.String()
}

// quoted is a list as history shows it.
func quoted(list []string) string {
	var out []string
	for _, v := range list {
		out = append(out, strconv.Quote(v))
	}
	return "[" + strings.Join(out, " ") + "]"
}

func (s *state) shell() []string {
	if len(s.config.Shell) > 0 {
		return slices.Clone(s.config.Shell)
	}
	return []string{"/bin/sh", "-c"}
}

// arg declares variables.
func (b *builder) arg(s *state, x *instruction) error {
	list, err := argPairs(x, b.plan.escape, s.env())
	if err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString("ARG")
	for _, a := range list {
		text.WriteString(" " + a.name)
		if a.set {
			text.WriteString("=" + a.value)
		}
		b.used[a.name] = true
		value, given := b.o.Args[a.name]
		if !given && !a.set {
			if value, given = b.plan.meta.Get(a.name); !given {
				value, given = platformArgs(b.o.Platform).Get(a.name)
			}
		}
		switch {
		case given:
			err = s.args.set(a.name, value)
		case a.set:
			err = s.args.set(a.name, a.value)
		}
		if err != nil {
			return err
		}
	}
	return b.note(s, text.String())
}

var portWord = regexp.MustCompile(`^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/([A-Za-z]+))?$`)

// exposed reads ports of EXPOSE: "80", "80/udp", "8000-8010".
func exposed(list []string) (ports []string, err error) {
	for _, w := range list {
		m := portWord.FindStringSubmatch(w)
		if m == nil {
			return nil, bad("invalid containerPort: %.40s", w)
		}
		first, _ := strconv.Atoi(m[1])
		last := first
		if m[2] != "" {
			last, _ = strconv.Atoi(m[2])
		}
		protocol := strings.ToLower(m[3])
		if protocol == "" {
			protocol = "tcp"
		}
		if first < 1 || last < first || last > 65535 || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
			return nil, bad("invalid containerPort: %.40s", w)
		}
		for n := first; n <= last; n++ {
			ports = append(ports, strconv.Itoa(n)+"/"+protocol)
		}
	}
	if len(ports) == 0 {
		return nil, bad("EXPOSE requires at least one argument")
	}
	return ports, nil
}

// healthcheck reads HEALTHCHECK.
func (x *instruction) healthcheck() (*dockerspec.HealthcheckConfig, error) {
	h := &dockerspec.HealthcheckConfig{}
	word, rest := x.rest, ""
	if i := strings.IndexAny(word, " \t"); i >= 0 {
		word, rest = word[:i], strings.TrimSpace(word[i:])
	}
	switch strings.ToUpper(word) {
	case "NONE":
		if rest != "" || len(x.flags) > 0 {
			return nil, bad("HEALTHCHECK NONE takes no arguments")
		}
		h.Test = []string{"NONE"}
		return h, nil
	case "CMD":
	default:
		return nil, bad("unknown type %.40q in HEALTHCHECK (try CMD)", word)
	}
	if rest == "" {
		return nil, bad("missing command after HEALTHCHECK CMD")
	}
	h.Test = []string{"CMD-SHELL", rest}
	if list, ok := jsonList(rest); ok {
		if len(list) == 0 {
			return nil, bad("missing command after HEALTHCHECK CMD")
		}
		h.Test = append([]string{"CMD"}, list...)
	}
	durations := map[string]*time.Duration{
		"interval": &h.Interval, "timeout": &h.Timeout, "start-period": &h.StartPeriod, "start-interval": &h.StartInterval,
	}
	for _, f := range x.flags {
		var err error
		if d := durations[f.name]; d != nil {
			if *d, err = time.ParseDuration(f.value); err == nil && (*d < 0 || *d > 0 && *d < time.Millisecond) {
				err = bad("it cannot be less than 1ms")
			}
		} else if h.Retries, err = strconv.Atoi(f.value); err == nil && h.Retries < 0 {
			err = bad("it cannot be negative")
		}
		if err != nil {
			return nil, fmt.Errorf("HEALTHCHECK --%s=%.40s: %w", f.name, f.value, err)
		}
	}
	return h, nil
}

// workdir changes the working directory, which it makes where it is missing.
func (b *builder) workdir(s *state, x *instruction) error {
	dir, err := expand(x.rest, b.plan.escape, s.env())
	if err != nil {
		return err
	}
	if dir == "" {
		return bad("WORKDIR requires an argument")
	}
	if !path.IsAbs(dir) {
		dir = path.Join("/", s.config.WorkingDir, dir)
	}
	dir = path.Clean(dir)
	s.config.WorkingDir = dir
	createdBy := "/bin/sh -c #(nop) WORKDIR " + dir
	key := hash(s.key, createdBy)
	if hit, err := b.cached(s, key); err != nil || hit {
		return err
	}
	there, err := b.isFolder(s, dir)
	if err != nil {
		return err
	}
	if there {
		return b.noteAs(s, createdBy)
	}
	return b.layer(s, key, createdBy, func(w *layerWriter) error {
		_, err := w.folder(dir)
		return err
	})
}

// triggers does what a base has for its children.
func (b *builder) triggers(s *state) error {
	if len(s.triggers) == 0 {
		return nil
	}
	b.say("# Executing %d build trigger%s", len(s.triggers), map[bool]string{true: "s"}[len(s.triggers) > 1])
	for _, text := range s.triggers {
		x, err := newInstruction(text, b.plan.escape)
		if err != nil {
			return fmt.Errorf("ONBUILD %.100s: %w", text, err)
		}
		switch x.name {
		case "ONBUILD", "MAINTAINER", "FROM":
			return bad("%s isn't allowed as an ONBUILD trigger", x.name)
		}
		if err := b.run(s, x); err != nil {
			return fmt.Errorf("ONBUILD %s: %w", x.name, err)
		}
		b.say(" ---> %s", s.id())
	}
	return nil
}
