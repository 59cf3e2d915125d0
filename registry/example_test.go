package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

func ExampleParseReference() {
	for _, s := range []string{"alpine", "ghcr.io/team/app:1.2", "localhost:5000/app"} {
		ref, err := registry.ParseReference(s)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(ref, "or", ref.Familiar())
	}
	_, err := registry.ParseReference("Alpine")
	fmt.Println(err)
	// Output:
	// docker.io/library/alpine:latest or alpine:latest
	// ghcr.io/team/app:1.2 or ghcr.io/team/app:1.2
	// localhost:5000/app:latest or localhost:5000/app:latest
	// invalid reference format: repository name (library/Alpine) must be lowercase
}

// A registry in this process, an image pushed to it, and pulled again.
func Example() {
	ctx := context.Background()
	server := httptest.NewServer(new(registry.Server))
	defer server.Close()
	ref, err := registry.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/app:1")
	if err != nil {
		fmt.Println(err)
		return
	}
	var c registry.Client
	defer c.CloseIdleConnections()

	config := `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"}}`
	blob := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString(config), Size: int64(len(config))}
	outcome, err := c.PushBlob(ctx, ref, registry.BlobUpload{Descriptor: blob, Content: strings.NewReader(config)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("config", outcome)

	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: blob, Layers: []ocispec.Descriptor{}}
	manifest.SchemaVersion = 2
	content, err := json.Marshal(manifest)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.PushManifest(ctx, ref, ocispec.Descriptor{}, content); err != nil {
		fmt.Println(err)
		return
	}

	desc, _, err := c.Manifest(ctx, ref)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(desc.MediaType)
	r, err := c.Blob(ctx, ref, blob)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	b, err := io.ReadAll(r) // fails at its end when the digest is wrong
	fmt.Println(len(b) == len(config), err)
	// Output:
	// config uploaded
	// application/vnd.oci.image.manifest.v1+json
	// true <nil>
}

// A registry that everybody may read, and only some may write.
func ExampleServer() {
	s := &registry.Server{Store: new(registry.MemoryStore)}
	s.Authorize = func(r *http.Request, _, action string) error {
		if user, password, _ := r.BasicAuth(); action == registry.ActionPush && (user != "ann" || password != "s3cret") {
			return registry.ErrUnauthorized
		}
		return nil
	}
	server := httptest.NewServer(s)
	defer server.Close()
	resp, err := http.Post(server.URL+"/v2/app/blobs/uploads/", "", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, resp.Header.Get("WWW-Authenticate"))
	// Output: 401 Unauthorized Basic realm="registry"
}
