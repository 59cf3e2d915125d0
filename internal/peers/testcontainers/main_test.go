package testcontainers

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// image is the one that the containers are of: a shell, in a registry of this machine.
var image = os.Getenv("TEST_IMAGE")

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ryuk" {
		if err := ryuk(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if image == "" {
		fmt.Println("these tests are run by TestTestcontainers of dockerapi")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience is how long the cleaner waits for another one to connect when nobody is any more.
const patience = 200 * time.Millisecond

// ryuk stands in for the container by which testcontainers cleans up. Who connects tells it labels, which it acknowledges; when nobody is
// connected any more it removes the containers and networks that have them.
func ryuk() error {
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	fmt.Println("Started")
	told, gone := make(chan client.Filters), make(chan bool)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				panic(err)
			}
			go func() {
				defer c.Close()
				lines := bufio.NewScanner(c)
				if !lines.Scan() {
					return // it only looked whether somebody listens
				}
				filters := make(client.Filters)
				for filter := range strings.SplitSeq(lines.Text(), "&") {
					name, value, _ := strings.Cut(filter, "=")
					filters.Add(name, value)
				}
				told <- filters
				_, _ = fmt.Fprintln(c, "ACK")
				for lines.Scan() {
				}
				gone <- true
			}()
		}
	}()
	var filters client.Filters
	var alone <-chan time.Time
	for connected := 0; ; {
		select {
		case filters = <-told:
			connected++
			alone = nil
		case <-gone:
			if connected--; connected == 0 {
				alone = time.After(patience)
			}
		case <-alone:
			return reap(filters)
		}
	}
}

func reap(filters client.Filters) error {
	ctx := context.Background()
	d, err := client.New(client.WithHost("unix:///var/run/docker.sock"))
	if err != nil {
		return err
	}
	list, err := d.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	if err != nil {
		return err
	}
	for _, c := range list.Items {
		fmt.Println("removing", c.Names)
		if _, err := d.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			return err
		}
	}
	_, err = d.NetworkPrune(ctx, client.NetworkPruneOptions{Filters: filters})
	return err
}
