//go:build linux

package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/registry"
)

const (
	changedFiles = 1000
	manyLayers   = 100
	manyImages   = 500
)

// commits times the commit of a container that has other content in 1,000 files of its image's.
func (s *setting) commits() ([]*bench.Case, func() error, error) {
	name, err := s.publish("changed", 1)
	if err != nil {
		return nil, nil, err
	}
	changes := filepath.Join(s.dir, "changes", "data")
	if err := os.MkdirAll(changes, 0o755); err != nil {
		return nil, nil, err
	}
	for i := range changedFiles {
		if err := os.WriteFile(filepath.Join(changes, fmt.Sprint(i)), content(i, "changed"), 0o644); err != nil {
			return nil, nil, err
		}
	}
	setUp := func(program func(...string) func() error) error {
		return all(program("create", "--name", "bench", name, "/bin/true"), program("cp", changes, "bench:/"), command("sync"))
	}
	run := func(title string, program func(...string) func() error) *bench.Case {
		return &bench.Case{Name: title, Run: program("commit", "bench", "made:latest"), Clean: program("rmi", "made:latest")}
	}
	cases := []*bench.Case{run("minidocker commit, 1,000 changed files", s.minidocker)}
	removals := []func() error{s.minidocker("rm", "bench")}
	if err := setUp(s.minidocker); err != nil {
		return nil, nil, err
	}
	if installed("podman") {
		if err := all(s.podman("pull", "-q", "--tls-verify=false", name), func() error { return setUp(s.podman) }); err != nil {
			return nil, nil, err
		}
		cases = append(cases, run("podman commit", s.podman))
		removals = append(removals, s.podman("rm", "bench"))
	}
	return cases, func() error { return all(removals...) }, nil
}

// starts times a container from its making to its removal, of an image with 100 layers.
func (s *setting) starts() ([]*bench.Case, func() error, error) {
	name, err := s.publish("layers", manyLayers)
	if err != nil {
		return nil, nil, err
	}
	args := []string{"run", "--rm", "--network", "none", name, "/bin/true"}
	cases := []*bench.Case{{Name: "minidocker run --rm, 100 layers", Run: s.minidocker(args...)}}
	if installed("podman") {
		if err := s.podman("pull", "-q", "--tls-verify=false", name)(); err != nil {
			return nil, nil, err
		}
		limited := append([]string{"run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"}, args[1:]...) // its own default may be above what is allowed here
		in := bench.WithoutUnified()
		cases = append(cases, &bench.Case{Name: "podman run --rm", Run: func() error { return in(s.podman(limited...)) }, Clean: s.rest})
	}
	return cases, nil, nil
}

// pushes times a push of eight layers to an empty registry, all from one OCI layout.
func (s *setting) pushes(size int64) ([]*bench.Case, func() error, error) {
	root, blobs := filepath.Join(s.dir, "push"), filepath.Join(s.dir, "blobs")
	if err := os.Mkdir(blobs, 0o755); err != nil {
		return nil, nil, err
	}
	folder, err := testimage.Big{Bytes: size, Entries: int(size / 16000), Layers: 8}.Write(blobs)
	if err != nil {
		return nil, nil, err
	}
	layout, to := filepath.Join(root, "images"), s.host+"/pushed:latest"
	s.registry.Store(&registry.Server{Store: testimage.Served{Folder: folder}})
	store, err := image.Open(root)
	if err != nil {
		return nil, nil, err
	}
	if _, err := image.Pull(context.Background(), store, to, nil); err != nil {
		return nil, nil, err
	}
	minidocker, crane := filepath.Join(s.programs, "minidocker"), filepath.Join(s.programs, "crane")
	cases := []*bench.Case{{Name: fmt.Sprintf("minidocker push, %d MB", size/1e6), Run: command(minidocker, "--root", root, "push", "-q", to)}}
	if installed(crane) {
		cases = append(cases, &bench.Case{Name: "crane push", Run: command(crane, "push", layout, to)})
	}
	if installed("skopeo") {
		cases = append(cases, &bench.Case{Name: "skopeo copy", Run: command("skopeo", "--insecure-policy", "copy", "-q",
			"--dest-tls-verify=false", "oci:"+layout, "docker://"+to)})
	}
	for _, c := range cases {
		c.Prepare = s.fresh
	}
	return cases, func() error { return errors.Join(os.RemoveAll(root), os.RemoveAll(blobs)) }, nil
}

// lists times the listing of 500 images.
func (s *setting) lists() ([]*bench.Case, func() error, error) {
	ctx := context.Background()
	store, err := image.Open(filepath.Join(s.dir, "ours"))
	if err != nil {
		return nil, nil, err
	}
	base, err := store.Get(ctx, s.host+"/changed:latest", nil)
	if err != nil {
		return nil, nil, err
	}
	for i := range manyImages {
		_, err := store.Commit(ctx, func(w io.Writer) error { return writeTar(w, 0, fmt.Sprint(i)) },
			&image.CommitOptions{Parent: base, Name: fmt.Sprintf("listed:%d", i)})
		if err != nil {
			return nil, nil, err
		}
	}
	return []*bench.Case{{Name: "minidocker images, 500 images", Run: s.minidocker("images")}}, nil, nil
}

// publish makes an image of so many layers in our store and pushes it to a registry that has nothing else.
func (s *setting) publish(name string, layers int) (string, error) {
	ctx := context.Background()
	if err := s.fresh(); err != nil {
		return "", err
	}
	store, err := image.Open(filepath.Join(s.dir, "ours"))
	if err != nil {
		return "", err
	}
	full := s.host + "/" + name + ":latest"
	var img *image.Image
	for i := range layers {
		img, err = store.Commit(ctx, func(w io.Writer) error { return writeTar(w, i, name) }, &image.CommitOptions{Parent: img, Name: full})
		if err != nil {
			return "", err
		}
	}
	_, err = image.Push(ctx, store, full, nil)
	return full, err
}

// writeTar writes a layer: the lowest has busybox and the files that are changed, the others a file of their own each.
func writeTar(w io.Writer, layer int, name string) error {
	t := tar.NewWriter(w)
	file := func(path string, b []byte, mode int64) error {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err := t.Write(b)
		return err
	}
	if layer > 0 || name != "changed" && name != "layers" {
		return errors.Join(file(fmt.Sprintf("layer/%s-%d", name, layer), content(layer, name), 0o644), t.Close())
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := file("bin/true", program, 0o755); err != nil {
		return err
	}
	for i := range changedFiles {
		if err := file(fmt.Sprintf("data/%d", i), content(i, "original"), 0o644); err != nil {
			return err
		}
	}
	return t.Close()
}

// content is some 4 KB of text that differs by number and kind.
func content(i int, kind string) []byte {
	var b []byte
	for line := range 100 {
		b = fmt.Appendf(b, "%s file %d, line %d: %d\n", kind, i, line, i*line*7919)
	}
	return b
}
