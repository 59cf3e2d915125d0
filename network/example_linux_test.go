package network_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"

	"github.com/caisson-engine/caisson/network"
)

// A network is a document until something is attached to it: making one needs no root.
func Example() {
	dir, err := os.MkdirTemp("", "networks")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := network.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	n, err := store.Create(context.Background(), "backend", &network.CreateOptions{
		Subnets: []network.Subnet{{Prefix: netip.MustParsePrefix("10.213.0.0/24")}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n.Driver, n.Subnets[0].Prefix, n.Subnets[0].Gateway)
	// Output: bridge 10.213.0.0/24 10.213.0.1
}

func ExampleParsePorts() {
	ports, err := network.ParsePorts("127.0.0.1:8080-8081:80-81/udp")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ports)
	// Output: [127.0.0.1:8080->80/udp 127.0.0.1:8081->81/udp]
}
