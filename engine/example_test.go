package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/caisson-engine/caisson/engine"
)

func Example() {
	ctx := context.Background()
	e, err := engine.Open(ctx, "/var/lib/myprogram", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Pull(ctx, "hello-world", nil); err != nil {
		log.Fatal(err)
	}
	_, err = e.Run(ctx, &engine.Config{Image: "hello-world", AutoRemove: true}, &engine.StartOptions{Stdout: os.Stdout})
	os.Exit(engine.ExitCode(err))
}

func ExampleParseVolume() {
	m, err := engine.ParseVolume("/srv/data:/data:ro")
	fmt.Println(m.Type, m.Source, m.Target, m.ReadOnly, err)
	_, err = engine.ParseVolume("/srv/data:data")
	fmt.Println(err)
	// Output:
	// bind /srv/data /data true <nil>
	// invalid mount path: 'data' mount path must be absolute
}

func ExampleParseSignal() {
	n, _ := engine.ParseSignal("SIGINT")
	fmt.Println(n)
	// Output: 2
}
