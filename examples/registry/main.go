// Serve a registry from this program, push an image to it, and pull it from there.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

func main() {
	ctx := context.Background()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	server := &http.Server{Handler: new(registry.Server), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	defer server.Close()

	dir, err := os.MkdirTemp("", "example-")
	check(err)
	defer os.RemoveAll(dir)
	e, err := engine.Open(ctx, filepath.Join(dir, "engine"), nil)
	check(err)
	defer e.Close()
	_, err = e.Pull(ctx, "hello-world", &engine.PullOptions{Platform: "linux/amd64"})
	check(err)
	store, err := image.Open(e.Root())
	check(err)
	name := l.Addr().String() + "/greetings/hello:v1"
	pushed, err := image.Push(ctx, store, "hello-world", &image.PushOptions{To: name})
	check(err)

	other, err := image.Open(filepath.Join(dir, "other"))
	check(err)
	_, err = image.Pull(ctx, other, name, &image.PullOptions{
		Platform: "linux/amd64",
		Progress: func(e image.Event) { fmt.Println(e) },
	})
	check(err)
	fmt.Println("pushed", pushed)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
