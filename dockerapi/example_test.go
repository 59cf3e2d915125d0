package dockerapi_test

import (
	"context"
	"log"

	"github.com/caisson-engine/caisson/dockerapi"
	"github.com/caisson-engine/caisson/engine"
)

func Example() {
	ctx := context.Background()
	e, err := engine.Open(ctx, "/var/lib/myprogram", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	go func() { // networks and restart policies of containers
		if err := e.Supervise(ctx, nil); err != nil {
			log.Print(err)
		}
	}()
	l, err := dockerapi.Listen(ctx, "unix:///run/myprogram.sock", nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &dockerapi.Server{Engine: e}
	log.Print(s.Serve(ctx, l))
}
