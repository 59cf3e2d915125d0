// Keep data in a named volume: one container writes, another reads and cannot write, and the data outlives both.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/volume"
)

func main() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	check(err)
	defer os.RemoveAll(dir)
	store, err := volume.Open(dir)
	check(err)
	data, err := store.Create("data", nil)
	check(err)
	use, err := store.Acquire("data") // nobody can remove it meanwhile
	check(err)

	writer := container.New(namespace.Dir("/"), "sh", "-c", "echo kept >/mnt/file")
	writer.ReadOnlyRoot = true
	writer.Mounts = []container.Mount{container.Bind(data.Path, "/mnt")}
	check(writer.Run(ctx))

	reader := container.New(namespace.Dir("/"), "sh", "-c", "cat /mnt/file; echo more >>/mnt/file || echo cannot write")
	reader.ReadOnlyRoot = true
	reader.Mounts = []container.Mount{container.Bind(data.Path, "/mnt", container.ReadOnly)}
	out, err := reader.Output(ctx)
	check(err)
	fmt.Print(string(out))

	fmt.Println("in use:", store.Remove("data"))
	check(use.Close())
	check(store.Remove("data"))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
