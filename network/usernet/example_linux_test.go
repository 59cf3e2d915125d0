package usernet_test

import (
	"context"
	"fmt"
	"os"

	"github.com/caisson-engine/caisson/network"
	"github.com/caisson-engine/caisson/network/usernet"
)

// An ordinary user's program connects a network namespace that it made.
func Example() {
	ctx := context.Background()
	pid := 4711 // a process in the namespace
	store, err := network.Open(os.ExpandEnv("$HOME/.local/share/myprogram/networks"), &network.Options{UserMode: usernet.New()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if _, err := store.Create(ctx, "backend", nil); err != nil {
		fmt.Println(err)
		return
	}
	box, err := store.Sandbox(pid, &network.SandboxOptions{ID: "web1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()
	e, err := box.Attach(ctx, "backend", &network.EndpointOptions{Ports: []network.Port{{Container: 80, Host: 8080}}})
	fmt.Println(e.IPv4, err)
}
