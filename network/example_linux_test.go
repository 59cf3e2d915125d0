package network_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
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

// The host's Go code is a server and a client in containers' networks: what listens there nobody else of the host reaches.
func ExampleSandbox_Transport() {
	ctx := context.Background()
	store, err := network.Open("/var/lib/myprogram/networks", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	connect := func(id string, pid int) *network.Sandbox {
		box, err := store.Sandbox(pid, &network.SandboxOptions{ID: id})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := box.Attach(ctx, "backend", &network.EndpointOptions{Names: []string{id}}); err != nil {
			log.Fatal(err)
		}
		return box
	}
	web, client := connect("web", 4711), connect("client", 4712) // the containers' processes
	defer web.Close()
	defer client.Close()

	l, err := web.Listen(ctx, "tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(l) }()
	defer server.Close()

	transport := client.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://web/") // a name of the network's
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
}
