// Command minirunc is an OCI runtime: it runs the containers that podman, containerd, dockerd and others describe in
// bundles. Its commands, options and exit statuses are runc's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/namespace"
)

// A verb is a command: `minirunc create`.
type verb struct {
	name  string
	args  string // as usage shows them: "[options] CONTAINER-ID"
	about string
	run   func(c *command, args []string) error
}

// verbs are in files of their own.
func verbs() []verb {
	return []verb{
		checkpointVerb, createVerb, deleteVerb, eventsVerb, execVerb, featuresVerb, killVerb, listVerb, pauseVerb, psVerb,
		restoreVerb, resumeVerb, runVerb, specVerb, startVerb, stateVerb, updateVerb,
	}
}

// A command is one run of minirunc, with its global options.
type command struct {
	verb           *verb
	stdin          *os.File
	stdout, stderr io.Writer

	root          string // the folder with a folder for each container
	rootSet       bool   // by an option
	xdgRoot       bool   // root is the default one in $XDG_RUNTIME_DIR
	log           logger
	systemdCgroup bool
	rootless      string // "true", "false" or "auto"
	ends          bool   // with the command the process ends, and with that what it has open
}

// An exitStatus ends the command with a status, and a message if there is one.
type exitStatus struct {
	code int
	err  error // nil: nothing is to be said
}

func (e *exitStatus) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitStatus) Unwrap() error { return e.err }

func main() {
	c := &command{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, ends: true}
	os.Exit(c.main(os.Args[1:]))
}

// main returns the exit status.
func (c *command) main(args []string) int {
	err := c.do(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	code := 1
	var status *exitStatus
	if errors.As(err, &status) {
		code, err = status.code, status.err
	}
	if err != nil {
		c.fail(err)
	}
	return code
}

func (c *command) do(args []string) error {
	f := c.flags("minirunc")
	standard, xdg := defaultRoot()
	f.StringVar(&c.root, "root", standard, "folder for the state of containers")
	log := f.String("log", "", "file for messages (default: standard error)")
	logFormat := f.String("log-format", "text", "form of messages: text or json")
	debug := f.Bool("debug", false, "log more")
	f.BoolVar(&c.systemdCgroup, "systemd-cgroup", false, "cgroupsPath is slice:prefix:name, and systemd makes the group")
	f.StringVar(&c.rootless, "rootless", "auto", "ignore errors of control groups: true, false or auto")
	f.String("criu", "", "ignored")
	showVersion := f.Bool("version", false, "print the version")
	f.BoolVar(showVersion, "v", false, "print the version")
	f.Usage = func() { c.usage(f) }
	if err := f.Parse(args); err != nil {
		return err
	}
	if *showVersion {
		c.printVersion()
		return nil
	}
	if f.NArg() == 0 || f.Arg(0) == "help" {
		f.SetOutput(c.stdout)
		c.usage(f)
		return nil
	}
	if err := c.log.open(*log, *logFormat, *debug); err != nil {
		return err
	}
	f.Visit(func(o *flag.Flag) { c.rootSet = c.rootSet || o.Name == "root" })
	c.xdgRoot = xdg && !c.rootSet
	if err := c.check(); err != nil {
		return err
	}
	all := verbs()
	i := slices.IndexFunc(all, func(v verb) bool { return v.name == f.Arg(0) })
	if i < 0 {
		//lint:ignore ST1005 runc's words and status
		return &exitStatus{3, fmt.Errorf("No help topic for '%s'", f.Arg(0))}
	}
	c.verb = &all[i]
	return c.verb.run(c, f.Args()[1:])
}

// flags returns an empty set of options. They are written with one hyphen or two, and end at the first argument, as runc's.
func (c *command) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(c.stderr)
	if v := c.verb; v != nil {
		f.Usage = func() {
			fmt.Fprintf(f.Output(), "usage: minirunc %s %s\n%s\n", v.name, v.args, v.about)
			f.PrintDefaults()
		}
	}
	return f
}

// parse reads a verb's options and arguments, of which there must be from least to most (-1: any number).
func (c *command) parse(f *flag.FlagSet, args []string, least, most int) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if n := f.NArg(); n < least || most >= 0 && n > most {
		f.Usage()
		switch {
		case least == most:
			return fmt.Errorf("%q requires exactly %d argument(s)", c.verb.name, least)
		case n < least:
			return fmt.Errorf("%q requires a minimum of %d argument(s)", c.verb.name, least)
		}
		return fmt.Errorf("%q requires a maximum of %d argument(s)", c.verb.name, most)
	}
	return nil
}

func (c *command) usage(f *flag.FlagSet) {
	w := f.Output()
	fmt.Fprintf(w, "usage: minirunc [global options] COMMAND [options] [arguments]\n\ncommands:\n")
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-12s %s\n", v.name, v.about)
	}
	fmt.Fprintf(w, "\nglobal options:\n")
	f.PrintDefaults()
}

// check looks at the global options.
func (c *command) check() (err error) {
	if c.root, err = filepath.Abs(c.root); err != nil {
		return err
	}
	if c.root == "/" {
		return errors.New("option --root argument should not be set to /")
	}
	switch c.rootless {
	case "", "auto", "true", "false":
		return nil
	}
	b, err := strconv.ParseBool(c.rootless)
	if err != nil {
		return fmt.Errorf("option --rootless: %q is not true, false or auto", c.rootless)
	}
	c.rootless = strconv.FormatBool(b)
	return nil
}

// defaultRoot is where the state of containers is, if no option says it: for an ordinary user, also one that is root of a user
// namespace, in $XDG_RUNTIME_DIR.
func defaultRoot() (root string, xdg bool) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir != "" && (os.Geteuid() != 0 || os.Getenv("USER") != "root" && !namespace.FirstUserNamespace()) {
		return filepath.Join(dir, "minirunc"), true
	}
	return "/run/minirunc", false
}

// A list is an option that can be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }
