// Serve the Docker Engine API from this program, and run a container by it as any client of Docker does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/caisson-engine/caisson/dockerapi"
	"github.com/caisson-engine/caisson/engine"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "example-")
	check(err)
	defer os.RemoveAll(dir)
	e, err := engine.Open(ctx, filepath.Join(dir, "engine"), nil)
	check(err)
	defer e.Close()
	socket := filepath.Join(dir, "docker.sock")
	l, err := dockerapi.Listen(ctx, "unix://"+socket, nil)
	check(err)
	served, supervised := make(chan error, 1), make(chan error, 1)
	go func() { supervised <- e.Supervise(ctx, &engine.SuperviseOptions{Ends: true}) }() // networks and restart policies
	go func() { served <- (&dockerapi.Server{Engine: e}).Serve(ctx, l) }()

	docker := client{http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
	docker.call(http.MethodPost, "/images/create?fromImage=hello-world&tag=latest", "")
	var made struct{ ID string }
	check(json.Unmarshal(docker.call(http.MethodPost, "/containers/create", `{"Image": "hello-world", "Tty": true}`), &made))
	docker.call(http.MethodPost, "/containers/"+made.ID+"/start", "")
	docker.call(http.MethodPost, "/containers/"+made.ID+"/wait", "")
	fmt.Printf("%s", docker.call(http.MethodGet, "/containers/"+made.ID+"/logs?stdout=1", ""))
	docker.call(http.MethodDelete, "/containers/"+made.ID, "")

	stop()
	check(<-served)
	check(<-supervised)
}

// A client calls the API by hand: one would use the docker command, or a library.
type client struct{ http.Client }

func (c *client) call(method, path, body string) []byte {
	r, err := http.NewRequest(method, "http://docker"+path, strings.NewReader(body))
	check(err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.Do(r)
	check(err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	check(err)
	if answer.StatusCode >= http.StatusBadRequest {
		log.Fatalf("%s %s: %s", method, path, b)
	}
	return b
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
