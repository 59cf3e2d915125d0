package image

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// changing is a configuration to which instructions of a Dockerfile are applied.
type changing struct {
	config ocispec.ImageConfig
	raw    rawConfig // for what ocispec.ImageConfig does not have
	cmdSet bool
}

// checkChanges refuses what cannot be applied, before anything is made.
func checkChanges(changes []string) error {
	c := changing{raw: rawConfig{}}
	for _, line := range changes {
		if err := c.apply(line); err != nil {
			return err
		}
	}
	return nil
}

// apply applies one instruction.
func (c *changing) apply(line string) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	if err := c.instruction(strings.ToUpper(word), rest); err != nil {
		return fmt.Errorf("change %.100q: %w", line, err)
	}
	return nil
}

func (c *changing) instruction(word, rest string) error {
	if strings.ContainsRune(rest, 0) {
		return invalid("a NUL byte")
	}
	config := &c.config
	if rest == "" && word != "CMD" && word != "ENTRYPOINT" {
		return invalid("%s requires an argument", word)
	}
	switch word {
	case "CMD":
		config.Cmd, c.cmdSet = command(rest), true
	case "ENTRYPOINT":
		config.Entrypoint = command(rest)
		if !c.cmdSet {
			config.Cmd = nil // which was meant for the old one
		}
	case "ENV":
		return pairs(rest, func(k, v string) {
			config.Env = slices.DeleteFunc(config.Env, func(have string) bool { return strings.HasPrefix(have, k+"=") })
			config.Env = append(config.Env, k+"="+v)
		})
	case "LABEL":
		return pairs(rest, func(k, v string) {
			if config.Labels == nil {
				config.Labels = map[string]string{}
			}
			config.Labels[k] = v
		})
	case "EXPOSE":
		return c.expose(strings.Fields(rest))
	case "VOLUME":
		return c.volumes(rest)
	case "USER":
		config.User = rest
	case "WORKDIR":
		if !path.IsAbs(rest) {
			rest = path.Join("/", config.WorkingDir, rest)
		}
		config.WorkingDir = path.Clean(rest)
	case "STOPSIGNAL":
		config.StopSignal = rest
	case "HEALTHCHECK":
		return c.healthCheck(rest)
	case "ONBUILD":
		var list []string
		if b := c.raw["OnBuild"]; len(b) > 0 {
			if err := json.Unmarshal(b, &list); err != nil {
				return err
			}
		}
		return c.raw.set("OnBuild", append(list, rest))
	default:
		return invalid("%q is not a valid change command", word)
	}
	return nil
}

// command reads a command: a JSON array as it is, anything else for the shell.
func command(s string) []string {
	var list []string
	if strings.HasPrefix(s, "[") && json.Unmarshal([]byte(s), &list) == nil {
		return list
	}
	if s == "" {
		return nil
	}
	return []string{"/bin/sh", "-c", s}
}

func (c *changing) expose(ports []string) error {
	for _, p := range ports {
		number, protocol, ok := strings.Cut(strings.ToLower(p), "/")
		if !ok {
			protocol = "tcp"
		}
		first, last, isRange := strings.Cut(number, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil || from == 0 || to < from || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
			return invalid("port %q", p)
		}
		if c.config.ExposedPorts == nil {
			c.config.ExposedPorts = map[string]struct{}{}
		}
		for n := from; n <= to; n++ {
			c.config.ExposedPorts[fmt.Sprintf("%d/%s", n, protocol)] = struct{}{}
		}
	}
	return nil
}

func (c *changing) volumes(s string) error {
	var list []string
	if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &list) != nil {
		list = strings.Fields(s)
	}
	for _, v := range list {
		if v = strings.TrimSpace(v); v == "" {
			return invalid("a volume without a path")
		}
		if c.config.Volumes == nil {
			c.config.Volumes = map[string]struct{}{}
		}
		c.config.Volumes[v] = struct{}{}
	}
	return nil
}

func (c *changing) healthCheck(s string) error {
	var h Healthcheck
	durations := map[string]*time.Duration{
		"interval": &h.Interval, "timeout": &h.Timeout, "start-period": &h.StartPeriod, "start-interval": &h.StartInterval,
	}
	for strings.HasPrefix(s, "--") {
		var flag string
		flag, s, _ = strings.Cut(s, " ")
		s = strings.TrimSpace(s)
		name, value, _ := strings.Cut(flag[2:], "=")
		var err error
		switch d := durations[name]; {
		case d != nil:
			if *d, err = time.ParseDuration(value); err == nil && *d < time.Millisecond {
				err = invalid("shorter than a millisecond")
			}
		case name == "retries":
			if h.Retries, err = strconv.Atoi(value); err == nil && h.Retries < 0 {
				err = invalid("negative")
			}
		default:
			err = invalid("no such flag")
		}
		if err != nil {
			return fmt.Errorf("--%s=%.40s: %w", name, value, err)
		}
	}
	word, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToUpper(word) {
	case "NONE":
		if rest != "" {
			return invalid("NONE takes no argument")
		}
		h.Test = []string{HealthNone}
	case "CMD":
		list := command(rest)
		if len(list) == 0 {
			return invalid("CMD requires a command")
		}
		h.Test = append([]string{HealthCmd}, list...)
		if !strings.HasPrefix(rest, "[") {
			h.Test = []string{HealthShell, rest}
		}
	default:
		return invalid("%q is neither CMD nor NONE", word)
	}
	return c.raw.set("Healthcheck", h)
}

// pairs reads "k=v k2='v 2'" with quotes and backslashes as a Dockerfile has them, or "k rest of the line".
func pairs(s string, set func(k, v string)) error {
	words, err := quotedWords(s)
	if err != nil {
		return err
	}
	if !strings.Contains(words[0], "=") {
		k, v, ok := strings.Cut(s, " ")
		if !ok {
			return invalid("%q has no value", s)
		}
		set(k, strings.TrimSpace(v))
		return nil
	}
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return invalid("%q is not name=value", w)
		}
		set(k, v)
	}
	return nil
}

func quotedWords(s string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	open, escaped := false, false
	for _, r := range s {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' && r != '$' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, open = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, open = r, true
		case unicode.IsSpace(r):
			if open {
				words = append(words, word.String())
				word.Reset()
			}
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if quote != 0 || escaped {
		return nil, invalid("unfinished %q", s)
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}
