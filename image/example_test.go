package image_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// serve starts a registry that has the image app:v1, and returns its host.
func serve(ctx context.Context) (host string, stop func()) {
	s := httptest.NewServer(&registry.Server{})
	host = strings.TrimPrefix(s.URL, "http://")
	c := &registry.Client{}
	ref, err := registry.ParseReference(host + "/app:v1")
	must(err)
	var m ocispec.Manifest
	m.Versioned, m.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest
	push := func(mediaType, content string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
		_, err := c.PushBlob(ctx, ref, registry.BlobUpload{Descriptor: d, Content: strings.NewReader(content)})
		must(err)
		return d
	}
	tar := strings.Repeat("\x00", 1024) // an empty archive
	m.Layers = []ocispec.Descriptor{push(ocispec.MediaTypeImageLayer, tar)}
	m.Config = push(ocispec.MediaTypeImageConfig, `{"os":"linux","architecture":"amd64","config":{"Cmd":["/hello"]},`+
		`"rootfs":{"type":"layers","diff_ids":["`+digest.FromString(tar).String()+`"]}}`)
	b, err := json.Marshal(m)
	must(err)
	must(c.PushManifest(ctx, ref, ocispec.Descriptor{MediaType: m.MediaType}, b))
	return host, func() { c.CloseIdleConnections(); s.Close() }
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Pull an image and mount it.
func ExamplePull() {
	if os.Geteuid() != 0 {
		fmt.Println("command: [/hello]") // layers take root
		return
	}
	ctx := context.Background()
	host, stop := serve(ctx)
	defer stop()
	dir, err := os.MkdirTemp("", "example")
	must(err)
	defer os.RemoveAll(dir)

	store, err := image.Open(dir)
	must(err)
	img, err := image.Pull(ctx, store, host+"/app:v1", nil)
	must(err)
	root, err := layer.Mount(ctx, img.Layers, nil)
	must(err)
	defer root.Close()
	fmt.Println("command:", img.Config.Config.Cmd)
	// Output: command: [/hello]
}

// The events of a pull, printed, are what docker pull prints.
func ExampleEvent() {
	layer := digest.FromString("layer")
	for _, e := range []image.Event{
		{Kind: image.PullingFrom, Ref: "library/alpine", Tag: "latest"},
		{Kind: image.PullingLayer, Digest: layer},
		{Kind: image.PullComplete, Digest: layer},
		{Kind: image.PulledDigest, Digest: digest.FromString("manifest")},
		{Kind: image.DownloadedNewer, Ref: "alpine:latest"},
	} {
		fmt.Println(e)
	}
	// Output:
	// latest: Pulling from library/alpine
	// dac1d7cfa950: Pulling fs layer
	// dac1d7cfa950: Pull complete
	// Digest: sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f
	// Status: Downloaded newer image for alpine:latest
}

// Names are taken away; with the last one goes the image.
func ExampleStore_Remove() {
	if os.Geteuid() != 0 {
		fmt.Println("untagged app:v1, deleted 2") // layers take root
		return
	}
	ctx := context.Background()
	host, stop := serve(ctx)
	defer stop()
	dir, err := os.MkdirTemp("", "example")
	must(err)
	defer os.RemoveAll(dir)

	store, err := image.Open(dir)
	must(err)
	_, err = image.Pull(ctx, store, host+"/app:v1", nil)
	must(err)
	done, err := store.Remove(ctx, host+"/app:v1", nil)
	must(err)
	fmt.Printf("untagged %s, deleted %d\n", strings.TrimPrefix(done.Untagged[0], host+"/"), len(done.Deleted))
	// Output: untagged app:v1, deleted 2
}
