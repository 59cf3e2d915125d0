package testimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An Entry is an entry of a layer: a folder if its name ends in a slash, a symbolic link if it has a Link, else a file.
type Entry struct {
	Name, Link string
	Mode       int64 // zero means 0755 for a folder or a file
	UID, GID   int
	Content    []byte
}

// A Layer is a list of entries, in the order in which they are in the archive.
type Layer []Entry

// A Blob is a content with its descriptor.
type Blob struct {
	Descriptor ocispec.Descriptor
	Content    []byte
}

// An Image is the manifest of an image for the machine's architecture, and what it refers to.
type Image struct {
	Manifest Blob
	Blobs    []Blob // the configuration, then the layers
}

// New makes an image.
func New(t testing.TB, config ocispec.ImageConfig, layers ...Layer) *Image {
	t.Helper()
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	c := ocispec.Image{
		Created: &made, Config: config, Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS: ocispec.RootFS{Type: "layers"},
	}
	var blobs []Blob
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		archive := l.archive(t)
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(archive))
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, err := w.Write(archive)
		must(t, err)
		must(t, w.Close())
		b := blob(ocispec.MediaTypeImageLayerGzip, z.Bytes())
		m.Layers = append(m.Layers, b.Descriptor)
		blobs = append(blobs, b)
	}
	text, err := json.Marshal(c)
	must(t, err)
	cb := blob(ocispec.MediaTypeImageConfig, text)
	m.Config = cb.Descriptor
	text, err = json.Marshal(m)
	must(t, err)
	return &Image{Manifest: blob(m.MediaType, text), Blobs: append([]Blob{cb}, blobs...)}
}

func blob(mediaType string, b []byte) Blob {
	return Blob{
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))},
		Content:    b,
	}
}

func (l Layer) archive(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range l {
		h := &tar.Header{Name: e.Name, Mode: e.Mode, Uid: e.UID, Gid: e.GID, Typeflag: tar.TypeReg, Size: int64(len(e.Content))}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		switch {
		case e.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
		case e.Name[len(e.Name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		must(t, w.WriteHeader(h))
		_, err := w.Write(e.Content)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// must ends the test on an error. (testify would count among what the library links: this is no test file.)
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
