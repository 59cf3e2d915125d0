package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A refusal is the value of a flag that docker has and this command has not: setting it is an error that says why.
type refusal struct {
	flag, reason string
	allowed      string // the value that is what happens anyway
	isBool       bool
}

func (r *refusal) String() string   { return "" }
func (r *refusal) IsBoolFlag() bool { return r.isBool }

func (r *refusal) Type() string {
	if r.isBool {
		return "bool"
	}
	return "string"
}

func (r *refusal) Set(value string) error {
	if r.isBool {
		on, err := strconv.ParseBool(value)
		if err != nil {
			return err
		}
		value = strconv.FormatBool(on)
	}
	if value == r.allowed {
		return nil
	}
	return &refusedError{fmt.Sprintf("--%s %s is not implemented: %s", r.flag, value, r.reason)}
}

// A refusedError is returned for what docker has and this command has not.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return "minidocker: " + e.text }
func (e *refusedError) Unwrap() error { return errors.ErrUnsupported }

// refuseFlag adds a flag that is refused with any value but allowed. It is not in the help.
func refuseFlag(f *pflag.FlagSet, name, letter, allowed, reason string) {
	f.AddFlag(&pflag.Flag{Name: name, Shorthand: letter, Hidden: true, Value: &refusal{flag: name, reason: reason, allowed: allowed}})
}

// refuseSwitch is refuseFlag for one that is on or off.
func refuseSwitch(f *pflag.FlagSet, name, letter string, allowed bool, reason string) {
	f.AddFlag(&pflag.Flag{
		Name: name, Shorthand: letter, Hidden: true, NoOptDefVal: "true",
		Value: &refusal{flag: name, reason: reason, allowed: strconv.FormatBool(allowed), isBool: true},
	})
}

// untrusted is the flag of docker's content trust, which asks a notary for signatures. By default it is off there, too.
func untrusted(f *pflag.FlagSet) {
	refuseSwitch(f, "disable-content-trust", "", true, "Docker Content Trust is not there, as Docker Hub's is no more")
}

// refusedCommands are docker's that are not there.
func refusedCommands() (all []*cobra.Command) {
	for _, r := range [][2]string{
		{"checkpoint", "checkpoints are not implemented"},
		{"search", "Docker Hub is searched at https://hub.docker.com"},
		{"context", "there is no daemon to choose: this command does the work itself. --root names another folder"},
		{"plugin", "there are no plugins"},
		{"trust", "Docker Content Trust is not there"},
		{"config", "there is no swarm"}, {"node", "there is no swarm"}, {"secret", "there is no swarm"}, {"service", "there is no swarm"},
		{"stack", "there is no swarm"}, {"swarm", "there is no swarm"},
		{"buildx", "builds are by build, which has stages, secrets and mounts of cache"},
		{"compose", "docker-compose works with this command's daemon: start minidocker daemon and set DOCKER_HOST to its socket"},
	} {
		all = append(all, &cobra.Command{
			Use: r[0], Hidden: true, DisableFlagParsing: true, Args: cobra.ArbitraryArgs,
			RunE: func(*cobra.Command, []string) error {
				return &refusedError{fmt.Sprintf("%s is not implemented: %s", r[0], r[1])}
			},
		})
	}
	return all
}
