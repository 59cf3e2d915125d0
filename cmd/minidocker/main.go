package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/layer"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is the command: it returns the exit status.
func run(args []string) int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	restore := a.catchSignals()
	defer restore()
	root := a.command()
	root.SetArgs(args)
	err := root.ExecuteContext(a.ctx)
	return a.exit(err)
}

// An app is one run of the command.
type app struct {
	stdin          *os.File
	stdout, stderr *os.File
	ctx            context.Context // ended by a signal, unless a container gets it
	signals        signals

	root      string
	config    string // folder of config.json
	debug     bool
	logLevel  string
	notify    int
	format    layer.Format
	noHello   bool
	netns     string
	cgroups   string // who makes control groups
	mirrors   []string
	insecures []string
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

// exit prints what is to be said about err and returns the exit status.
func (a *app) exit(err error) int {
	if err == nil {
		return 0
	}
	code := 1
	var status *exitStatus
	if errors.As(err, &status) {
		code, err = status.code, status.err
	}
	var refused *refusedError
	if errors.As(err, &refused) {
		code, err = 125, refused
	}
	if err != nil {
		fmt.Fprintln(a.stderr, err)
	}
	return code
}

// say prints a line to w. What it cannot print, nobody wants to read.
func say(w io.Writer, format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (a *app) command() *cobra.Command {
	root := group("minidocker", "Pull images and run containers, without a daemon")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.TraverseChildren = true // a flag of docker's own may have the letter of a command's
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetHelpFunc(a.help)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &exitStatus{125, fmt.Errorf("%w\n\nUsage:  %s\n\nRun '%s --help' for more information", err, c.UseLine(),
			c.CommandPath())}
	})
	f := root.PersistentFlags()
	f.StringVar(&a.root, "root", defaultRoot(), "The folder that images and containers are kept in ($CAISSON_ROOT)")
	f.StringVar(&a.netns, "network-namespace", os.Getenv("CAISSON_NETWORK_NAMESPACE"),
		"The network namespace, a path, that bridges and published ports are in ($CAISSON_NETWORK_NAMESPACE)")
	f.TextVar(&a.format, "layer-format", layer.Folder, "How layers of new images are kept: \"folder\", or \"erofs\" for images of file systems")
	f.StringVar(&a.cgroups, "cgroup-manager", os.Getenv("CAISSON_CGROUP_MANAGER"),
		`Who makes control groups: "cgroupfs" is this program, "systemd" makes each container a scope ($CAISSON_CGROUP_MANAGER)`)
	f.BoolVar(&a.noHello, "no-hello-world", false,
		"Ask Docker Hub for hello-world:latest, not the registry carried in this program")
	f.StringArrayVar(&a.mirrors, "registry-mirror", nil, "Ask this URL first for images of Docker Hub")
	f.StringArrayVar(&a.insecures, "insecure-registry", nil, "Allow plain HTTP and unverified TLS for this host or CIDR range")
	a.addGlobal(root)
	f.IntVar(&a.notify, "notify", -1, "The descriptor that a program in background closes when it is ready, and says to why it cannot be")
	_ = f.MarkHidden("notify")
	root.AddCommand(a.containerCommands()...)
	root.AddCommand(a.imageCommands()...)
	root.AddCommand(a.imagesCommand(), a.rmiCommand(), a.pullCommand(), a.tagCommand(), a.builderCommand(), a.inspectCommand(), a.volumeCommand(), a.networkCommand(),
		a.registryCommand(), a.manifestCommand(), a.loginCommand(), a.logoutCommand(), a.versionCommand(), a.infoCommand(), a.eventsCommand(), a.systemCommand(),
		a.superviseCommand(), a.daemonCommand())
	root.AddCommand(refusedCommands()...)
	a.dress(root)
	return root
}

// addGlobal adds the flags of docker itself, which are before the command's name.
func (a *app) addGlobal(root *cobra.Command) {
	f := root.Flags()
	root.Version = "-"
	root.SetVersionTemplate(versionLine())
	f.BoolP("version", "v", false, "Print version information and quit")
	f.StringVar(&a.config, "config", "", "The folder of the file with credentials ($DOCKER_CONFIG, or .docker in the home directory)")
	f.BoolVarP(&a.debug, "debug", "D", false, "Print what the engine logs")
	f.StringVarP(&a.logLevel, "log-level", "l", "", `Print what the engine logs, from this level on ("debug", "info", "warn", "error")`)
	for _, r := range [][2]string{{"host", "H"}, {"context", "c"}, {"tlscacert", ""}, {"tlscert", ""}, {"tlskey", ""}} {
		refuseFlag(f, r[0], r[1], "", noDaemon)
	}
	refuseSwitch(f, "tls", "", false, noDaemon)
	refuseSwitch(f, "tlsverify", "", false, noDaemon)
}

const noDaemon = "this command asks no daemon, it does the work itself; docker -H asks one"
