package helloworld

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Path is where the program lies in the image.
const Path = "/hello"

// made is the image's date, fixed so that digests are.
var made = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// A Content is a document or layer of the image.
type Content struct {
	Descriptor ocispec.Descriptor
	Bytes      []byte
}

// An Image is the whole of hello-world: what a registry has to hold.
type Image struct {
	Index     Content   // the image index; what the tag names
	Manifests []Content // one an architecture
	Blobs     []Content // configurations and layers
}

// New makes the image, for linux/amd64 and linux/arm64.
func New() (*Image, error) {
	image := &Image{}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
	}
	for _, arch := range []string{"amd64", "arm64"} {
		manifest, err := image.add(arch)
		if err != nil {
			return nil, err
		}
		index.Manifests = append(index.Manifests, manifest)
	}
	var err error
	image.Index, err = document(ocispec.MediaTypeImageIndex, index)
	return image, err
}

// add makes the image for one architecture and returns its manifest's descriptor.
func (i *Image) add(arch string) (ocispec.Descriptor, error) {
	program, err := Program(arch, Greeting(arch))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	archive, err := archive(program)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("hello-world layer: %w", err)
	}
	compressed, err := compress(archive)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("hello-world layer: %w", err)
	}
	layer := content(ocispec.MediaTypeImageLayerGzip, compressed)

	platform := ocispec.Platform{OS: "linux", Architecture: arch}
	if arch == "arm64" {
		platform.Variant = "v8"
	}
	config, err := document(ocispec.MediaTypeImageConfig, ocispec.Image{
		Created:  &made,
		Platform: platform,
		Config:   ocispec.ImageConfig{Cmd: []string{Path}, WorkingDir: "/"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(archive)}},
		History:  []ocispec.History{{Created: &made, CreatedBy: "caisson internal/helloworld"}},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	manifest, err := document(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config.Descriptor,
		Layers:    []ocispec.Descriptor{layer.Descriptor},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	i.Blobs = append(i.Blobs, config, layer)
	i.Manifests = append(i.Manifests, manifest)
	d := manifest.Descriptor
	d.Platform = &platform
	return d, nil
}

func content(mediaType string, b []byte) Content {
	return Content{
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))},
		Bytes:      b,
	}
}

func document(mediaType string, v any) (Content, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Content{}, fmt.Errorf("hello-world: %w", err)
	}
	return content(mediaType, b), nil
}

// archive returns a tar archive with the program in it.
func archive(program []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: Path[1:], Mode: 0o755, Size: int64(len(program)), ModTime: made,
		Format: tar.FormatUSTAR,
	})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// compress gzips b in stored blocks: what a compressor makes of the same bytes changes from one version of it to the
// next, and with it the digest.
func compress(b []byte) ([]byte, error) {
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.NoCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return z.Bytes(), nil
}
