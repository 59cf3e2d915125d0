package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// group makes a command that others are below, and does nothing by itself.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(commands...)
	return c
}

// dress gives a command and all below it the help and the errors of what is typed wrong that docker's have.
func (a *app) dress(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	if c.ValidArgsFunction == nil {
		c.ValidArgsFunction = a.completes(c)
	}
	accepts := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if c.HasSubCommands() {
			return unknownCommand(c, args)
		}
		if accepts == nil || accepts(c, args) == nil {
			return nil
		}
		return fmt.Errorf("minidocker: '%s' %s\n\nUsage:  %s\n\nRun '%s --help' for more information", c.CommandPath(), arity(c, accepts), useLine(c), c.CommandPath())
	}
	for _, sub := range c.Commands() {
		a.dress(sub)
	}
}

func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("minidocker: unknown command: %s %s\n", c.CommandPath(), args[0])
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf("\nDid you mean %s %s?\n", c.CommandPath(), strings.Join(near, ", or "))
	}
	return fmt.Errorf("%s\nRun '%s --help' for more information", text, c.CommandPath())
}

// arity says how many arguments a command takes: its own check is asked.
func arity(c *cobra.Command, accepts cobra.PositionalArgs) string {
	const many = 9
	least, most := -1, -1
	for n := range many + 1 {
		if accepts(c, make([]string, n)) == nil {
			if most = n; least < 0 {
				least = n
			}
		}
	}
	count := func(n int) string {
		if n == 1 {
			return "1 argument"
		}
		return fmt.Sprint(n, " arguments")
	}
	switch {
	case most == 0:
		return "accepts no arguments"
	case most == many:
		return "requires at least " + count(least)
	case least == most:
		return "requires " + count(least)
	case least == 0:
		return "requires at most " + count(most)
	}
	return fmt.Sprintf("requires at least %d and at most %s", least, count(most))
}

// useLine is how a command is called.
func useLine(c *cobra.Command) string {
	if c.HasSubCommands() {
		return c.CommandPath() + " COMMAND"
	}
	return c.UseLine()
}

// help prints what a command does, in docker's manner.
func (a *app) help(c *cobra.Command, _ []string) {
	out := c.OutOrStdout()
	width := int(a.size().Cols)
	text := c.Long
	if text == "" {
		text = c.Short
	}
	use := useLine(c)
	if !c.HasParent() {
		use = "minidocker [OPTIONS] COMMAND"
	}
	say(out, "Usage:  %s\n\n%s", use, text)
	if len(c.Aliases) > 0 {
		parent := c.Parent().CommandPath() + " "
		say(out, "\nAliases:\n  %s%s, %s%s", parent, c.Name(), parent, strings.Join(c.Aliases, ", "+parent))
	}
	groups, commands := [][2]string{}, [][2]string{}
	for _, sub := range c.Commands() {
		switch line := [2]string{"  " + sub.Name(), sub.Short}; {
		case !sub.IsAvailableCommand():
		case sub.HasSubCommands():
			groups = append(groups, line)
		default:
			commands = append(commands, line)
		}
	}
	printColumns(out, "Management Commands", groups, width)
	printColumns(out, "Commands", commands, width)
	own, title := c.LocalFlags(), "Options"
	if !c.HasParent() {
		title = "Global Options"
	}
	printColumns(out, title, flagLines(own), width)
	if c.HasSubCommands() {
		say(out, "\nRun '%s COMMAND --help' for more information on a command.", c.CommandPath())
	}
}

// flagLines are flags, and what is to be said of each.
func flagLines(set *pflag.FlagSet) (lines [][2]string) {
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		kind, text := pflag.UnquoteUsage(f)
		if strings.HasSuffix(kind, "Array") || strings.HasSuffix(kind, "Slice") {
			kind = "list"
		}
		if strings.HasPrefix(kind, "*") { // a type of Go's, of what is read from a text
			kind = "string"
		}
		left := "      --" + f.Name
		if f.Shorthand != "" {
			left = "  -" + f.Shorthand + ", --" + f.Name
		}
		if f.Value.Type() != "bool" {
			left += " " + kind
		}
		switch f.DefValue {
		case "", "[]", "0", "0s", "false", "<nil>":
		default:
			if f.Value.Type() == "string" {
				text += fmt.Sprintf(" (default %q)", f.DefValue)
			} else {
				text += fmt.Sprintf(" (default %s)", f.DefValue)
			}
		}
		lines = append(lines, [2]string{left, text})
	})
	return lines
}

// printColumns prints lines of two columns, of which the second is wrapped at a terminal's width. Zero is none.
func printColumns(out io.Writer, title string, lines [][2]string, width int) {
	if len(lines) == 0 {
		return
	}
	left := 12
	for _, l := range lines {
		left = max(left, len(l[0])+2)
	}
	say(out, "\n%s:", title)
	for _, l := range lines {
		text := l[1]
		if room := width - left - 1; room >= 20 {
			text = wrap(text, room, "\n"+strings.Repeat(" ", left+1))
		}
		say(out, "%-*s %s", left, l[0], text)
	}
}

// wrap breaks text into lines of at most width characters, where words allow it.
func wrap(text string, width int, newline string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		switch n := len([]rune(word)); {
		case i == 0:
			column = n
		case column+1+n > width:
			b.WriteString(newline)
			column = n
		default:
			b.WriteByte(' ')
			column += 1 + n
		}
		b.WriteString(word)
	}
	return b.String()
}
