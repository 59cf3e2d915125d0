package main

import "github.com/spf13/cobra"

// imageCommands are the commands about images that are there under their own names, and the group "image" that has them
// all.
func (a *app) imageCommands() []*cobra.Command {
	top := func() []*cobra.Command {
		return []*cobra.Command{a.buildCommand(), a.historyCommand(), a.importCommand(), a.loadCommand(), a.pushCommand(), a.saveCommand()}
	}
	group := group("image", "Manage images")
	list := a.imagesCommand()
	list.Use, list.Aliases = "ls [OPTIONS] [REPOSITORY[:TAG]]", []string{"list"}
	remove := a.rmiCommand()
	remove.Use, remove.Aliases = "rm [OPTIONS] IMAGE [IMAGE...]", []string{"remove", "rmi"}
	group.AddCommand(append(top(), list, a.imageFlattenCommand(), remove, a.inspects("inspect [OPTIONS] IMAGE [IMAGE...]", "Display detailed information on one or more images", "image"), a.imagePruneCommand(), a.pullCommand(), a.tagCommand())...)
	return append(top(), group)
}
