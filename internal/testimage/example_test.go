package testimage_test

import (
	"fmt"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/testimage"
)

func ExampleNew() {
	var t testing.T // a test's own
	image := testimage.New(&t, ocispec.ImageConfig{Cmd: []string{"/hello"}},
		testimage.Layer{{Name: "hello", Content: []byte("program")}})
	fmt.Println(len(image.Blobs), image.Manifest.Descriptor.MediaType)
	// Output: 2 application/vnd.oci.image.manifest.v1+json
}
