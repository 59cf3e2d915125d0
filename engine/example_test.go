package engine_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
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

// A service for a test, which talks to it inside its network. When the test's program is killed (go test -timeout) so is the container, and
// the next Open of the engine's folder removes it.
func ExampleEngine_WaitHealthy() {
	service := func(t *testing.T, e *engine.Engine) *engine.Run {
		c, err := e.Create(t.Context(), &engine.Config{
			Image: "httpd:2.4", AutoRemove: true,
			Healthcheck: &image.Healthcheck{Test: []string{image.HealthCmd, "bash", "-c", "true </dev/tcp/localhost/80"}, Interval: 100 * time.Millisecond},
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Start(t.Context(), c.ID, &engine.StartOptions{Stdout: t.Output(), Stderr: t.Output()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Stop(context.Background(), c.ID, time.Second); err != nil { // t.Context has ended
				t.Error(err)
			}
		})
		if err := e.WaitHealthy(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		return r
	}
	_ = func(t *testing.T, e *engine.Engine) {
		transport := service(t, e).Sandbox().Transport()
		defer transport.CloseIdleConnections()
		answer, err := (&http.Client{Transport: transport}).Get("http://localhost/")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		_, _ = io.Copy(t.Output(), answer.Body)
	}
}
