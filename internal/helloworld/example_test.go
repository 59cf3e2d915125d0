package helloworld_test

import (
	"fmt"
	"strings"

	"github.com/caisson-engine/caisson/internal/helloworld"
)

func ExampleNew() {
	image, err := helloworld.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(image.Index.Descriptor.MediaType)
	fmt.Println(len(image.Manifests), "platforms")
	fmt.Println(strings.SplitN(helloworld.Greeting("arm64"), "\n", 3)[1])
	// Output:
	// application/vnd.oci.image.index.v1+json
	// 2 platforms
	// Hello from caisson!
}
