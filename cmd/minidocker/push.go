package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

func (a *app) pushCommand() *cobra.Command {
	var all, quiet bool
	var platform string
	c := &cobra.Command{
		Use:                   "push [OPTIONS] NAME[:TAG]",
		Short:                 "Upload an image to a registry",
		Args:                  cobra.ExactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error { return a.push(e, args[0], platform, all, quiet) })
		},
	}
	c.Flags().BoolVarP(&all, "all-tags", "a", false, "Push all tags of an image to the repository")
	c.Flags().StringVar(&platform, "platform", "", "Push a platform-specific manifest as a single-platform image (os/arch[/variant])")
	untrusted(c.Flags())
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress verbose output")
	return c
}

func (a *app) push(e *engine.Engine, name, platform string, all, quiet bool) error {
	ref, err := registry.ParseReference(name)
	if err != nil {
		return err
	}
	names := []string{name}
	if all {
		if ref.Familiar() == name && ref.FamiliarName() != name {
			return errors.New("tag can't be used with --all-tags/-a")
		}
		list, err := e.SearchImages(a.ctx, &image.Filter{References: []string{ref.FamiliarName()}})
		if err != nil {
			return err
		}
		names = nil
		for _, img := range list {
			for _, n := range img.Names {
				if r, err := registry.ParseReference(n); err == nil && r.Tag != "" && r.Name() == ref.Name() {
					names = append(names, n)
				}
			}
		}
		slices.Sort(names)
		if len(names) == 0 {
			return fmt.Errorf("an image does not exist locally with the tag: %s", ref.FamiliarName())
		}
	}
	out := io.Writer(a.stdout)
	if quiet {
		out = io.Discard
	}
	say(out, "The push refers to repository [%s]", ref.Name())
	for _, n := range names {
		r, err := registry.ParseReference(n)
		if err != nil {
			return err
		}
		p := &progress{out: out}
		if !quiet && isTerminal(a.stdout) {
			p.width = int(sizeOf(a.stdout).Cols)
		}
		d, err := e.Push(a.ctx, n, &engine.PushOptions{Platform: platform, Progress: p.pushed})
		if err != nil {
			return err
		}
		say(out, "%s: digest: %s", r.Tag, d)
		if quiet {
			say(a.stdout, "%s", r.Familiar())
		}
	}
	return nil
}

// pushed is event for a push.
func (p *progress) pushed(e image.Event) {
	done := e.Kind == image.Pushed || e.Kind == image.LayerExists || e.Kind == image.Mounted
	p.layer(e, done)
}

// pullAll pulls all tags of a repository.
func (a *app) pullAll(e *engine.Engine, name string, f *pullFlags) error {
	ref, err := registry.ParseReference(name)
	if err != nil {
		return err
	}
	if ref.Digest != "" || ref.FamiliarName() != name && ref.Name() != name {
		return errors.New("tag can't be used with --all-tags/-a")
	}
	tags, err := e.Tags(a.ctx, name, registry.Credential{})
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := a.pull(e, ref.Name()+":"+tag, f); err != nil {
			return err
		}
	}
	say(a.stdout, "%s", ref.Name())
	return nil
}

func (a *app) loginCommand() *cobra.Command {
	var user, password string
	var stdin bool
	c := &cobra.Command{
		Use:                   "login [OPTIONS] [SERVER]",
		Short:                 "Authenticate to a registry",
		Args:                  cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) (err error) {
			host := registry.HostOf(strings.Join(args, ""))
			switch {
			case stdin && password != "":
				return errors.New("--password and --password-stdin are mutually exclusive")
			case stdin && user == "":
				return errors.New("must provide --username with --password-stdin")
			case stdin:
				b, err := io.ReadAll(io.LimitReader(a.stdin, 1<<20))
				if err != nil {
					return err
				}
				password = strings.TrimRight(string(b), "\r\n")
			case password != "":
				say(a.stderr, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
			}
			if user == "" || password == "" {
				if user, password, err = a.askCredential(user); err != nil {
					return err
				}
			}
			cred := registry.Credential{Username: user, Password: password}
			client := a.client()
			defer client.CloseIdleConnections()
			client.Credentials = func(_ context.Context, asked string) (registry.Credential, error) {
				if asked != host {
					return registry.Credential{}, nil
				}
				return cred, nil
			}
			if err := client.Ping(a.ctx, host); err != nil {
				return err
			}
			if err := registry.SaveDockerCredential(a.ctx, a.configFile(), host, cred); err != nil {
				return err
			}
			say(a.stdout, "Login Succeeded")
			return nil
		},
	}
	c.Flags().StringVarP(&user, "username", "u", "", "Username")
	c.Flags().StringVarP(&password, "password", "p", "", "Password")
	c.Flags().BoolVar(&stdin, "password-stdin", false, "Take the password from stdin")
	return c
}

// askCredential asks the user at the terminal.
func (a *app) askCredential(user string) (string, string, error) {
	if !isTerminal(a.stdin) {
		return "", "", errors.New("cannot perform an interactive login from a non TTY device")
	}
	if user == "" {
		fmt.Fprint(a.stdout, "Username: ")
		line, err := a.readLine()
		if err != nil {
			return "", "", err
		}
		user = strings.TrimSpace(line)
	}
	fmt.Fprint(a.stdout, "Password: ")
	b, err := term.ReadPassword(int(a.stdin.Fd()))
	fmt.Fprintln(a.stdout)
	if err == nil && (user == "" || len(b) == 0) {
		err = errors.New("username and password are required")
	}
	return user, string(b), err
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "logout [SERVER]",
		Short:                 "Log out from a registry",
		Args:                  cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			host := registry.HostOf(strings.Join(args, ""))
			found, err := registry.EraseDockerCredential(a.ctx, a.configFile(), host)
			if err != nil {
				return err
			}
			if !found {
				say(a.stdout, "Not logged in to %s", host)
				return nil
			}
			say(a.stdout, "Removing login credentials for %s", host)
			return nil
		},
	}
}
