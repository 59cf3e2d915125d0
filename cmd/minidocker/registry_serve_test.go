package main

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/registry"
)

// startRegistry starts minidocker registry serve, and returns the process and its host.
func startRegistry(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	c := exec.Command(newCommand(t), append([]string{"registry", "serve", "-a", "127.0.0.1:0"}, args...)...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return c, strings.Fields(line)[4]
}

// TestRegistryServeKilled kills a registry in the middle of uploads, again and again: what was acknowledged is there
// afterwards, what was not can be pushed again, and the folder is whole.
func TestRegistryServeKilled(t *testing.T) {
	dir := t.TempDir()
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	var acknowledged []ocispec.Descriptor
	var pushed atomic.Bool
	for round := range rounds {
		c, host := startRegistry(t, "-d", dir)
		ref, err := registry.ParseReference(host + "/app:v1")
		require.NoError(t, err)
		client := &registry.Client{HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, Retries: -1}
		for _, d := range acknowledged {
			how, err := client.PushBlob(t.Context(), ref, registry.BlobUpload{Descriptor: d})
			require.NoError(t, err)
			require.Equal(t, registry.BlobExists, how)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 1000 {
				b := bytes.Repeat([]byte{byte(round), byte(i), byte(i >> 8)}, 100<<10)
				d := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				_, err := client.PushBlob(ctx, ref, registry.BlobUpload{Descriptor: d, Content: bytes.NewReader(b)})
				cancel()
				if err != nil {
					return
				}
				acknowledged = append(acknowledged, d)
				pushed.Store(true)
			}
		}()
		if round == rounds-1 { // on a slow machine the others may end before the first push does
			require.Eventually(t, pushed.Load, time.Minute, time.Millisecond)
		}
		time.Sleep(time.Duration(20+30*round) * time.Millisecond)
		require.NoError(t, c.Process.Kill())
		<-done
		_ = c.Wait()
		s, err := registry.OpenFolder(dir)
		require.NoError(t, err)
		require.NoError(t, s.Check(t.Context()))
	}
	require.NotEmpty(t, acknowledged)
}

// TestRegistryServe pushes to a registry and pulls through a mirror of it, which goes on when the first has ended.
func TestRegistryServe(t *testing.T) {
	first, host := startRegistry(t, "-d", t.TempDir())
	image := testimage.New(t, ocispec.ImageConfig{}, testimage.Layer{{Name: "a", Content: []byte("x")}})
	push(t, host+"/app:v1", image)
	mirror, mirrorHost := startRegistry(t, "-d", t.TempDir(), "--upstream", host)
	client := &registry.Client{HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, Retries: -1}
	read := func() {
		ref, err := registry.ParseReference(mirrorHost + "/app:v1")
		require.NoError(t, err)
		d, _, err := client.Manifest(t.Context(), ref)
		require.NoError(t, err)
		require.Equal(t, image.Manifest.Descriptor.Digest, d.Digest)
		for _, b := range image.Blobs {
			r, err := client.Blob(t.Context(), ref, b.Descriptor)
			require.NoError(t, err)
			require.NoError(t, r.Close())
		}
	}
	read()
	require.NoError(t, first.Process.Signal(syscall.SIGTERM))
	require.NoError(t, first.Wait())
	read()
	require.NoError(t, mirror.Process.Signal(syscall.SIGTERM))
	require.NoError(t, mirror.Wait())

	// A read-only one refuses.
	_, host = startRegistry(t, "-d", t.TempDir(), "--read-only")
	ref, err := registry.ParseReference(host + "/app:v1")
	require.NoError(t, err)
	_, err = client.PushBlob(t.Context(), ref, registry.BlobUpload{Descriptor: image.Blobs[0].Descriptor,
		Content: bytes.NewReader(image.Blobs[0].Content)})
	require.ErrorContains(t, err, "read-only")
}

// TestRegistryServeFlags is what its flags bound.
func TestRegistryServeFlags(t *testing.T) {
	for _, args := range [][]string{{"--quota", "much"}, {"--quota", "A=1g"}, {"--quota", "../x=1g"}, {"--cache-size", "-1"},
		{"--max-blob-size", "x"}, {"--upstream-private"}, {"--tls-cert", "x"}} {
		out, err := exec.Command(newCommand(t), append([]string{"registry", "serve", "-d", t.TempDir()}, args...)...).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), args[0])
	}
	_, host := startRegistry(t, "-d", t.TempDir(), "--quota", "1k", "--quota", "team/big=1m", "--max-blob-size", "10k")
	client := &registry.Client{HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, Retries: -1}
	send := func(repository string, size int) error {
		ref, err := registry.ParseReference(host + "/" + repository)
		require.NoError(t, err)
		b := bytes.Repeat([]byte{byte(size)}, size)
		_, err = client.PushBlob(t.Context(), ref, registry.BlobUpload{
			Descriptor: ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(size)}, Content: bytes.NewReader(b)})
		return err
	}
	require.NoError(t, send("app", 1000))
	require.ErrorIs(t, send("app", 100), registry.ErrDenied)
	require.NoError(t, send("team/big", 10<<10))
	require.ErrorContains(t, send("team/big", 10<<10+1), "413")
}

// TestRegistryServeImages serves the images of a root folder, and takes pushes into it.
func TestRegistryServeImages(t *testing.T) {
	testenv.RequireRoot(t)
	root := t.TempDir()
	_, host := startRegistry(t, "--root", root, "--images", "mine.test")
	image := testimage.New(t, ocispec.ImageConfig{}, testimage.Layer{{Name: "a", Content: []byte("x")}})
	push(t, host+"/team/app:v1", image)
	minidocker := newCommand(t)
	out, err := exec.Command(minidocker, "--root", root, "images", "--digests").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `mine\.test/team/app +v1 +`+image.Manifest.Descriptor.Digest.String(), string(out))
	out, err = exec.Command(minidocker, "--root", t.TempDir(), "pull", "-q", host+"/team/app:v1").CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(minidocker, "registry", "serve", "--images", "x.test", "-d", root).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "--images")
}
