package build_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/caisson-engine/caisson/build"
	"github.com/caisson-engine/caisson/engine"
)

func Example() {
	ctx := context.Background()
	e, err := engine.Open(ctx, "/var/lib/myprogram", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	img, err := build.Build(ctx, e, build.Dir("."), &build.Options{Tags: []string{"app"}, Output: os.Stdout})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.ID)
}

// A Dockerfile alone, without files.
func ExampleBuild() {
	ctx := context.Background()
	e, err := engine.Open(ctx, "/var/lib/myprogram", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	img, err := build.Build(ctx, e, nil, &build.Options{
		Content: []byte("FROM alpine:3.22\nRUN apk add curl\nENTRYPOINT [\"curl\"]\n"),
		Args:    map[string]string{"HTTPS_PROXY": os.Getenv("HTTPS_PROXY")},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.ID)
}
