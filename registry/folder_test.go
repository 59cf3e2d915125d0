package registry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// files counts the regular files below dir.
func files(t testing.TB, dir string) int {
	n := 0
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	}))
	return n
}

func TestFolderCollect(t *testing.T) {
	s := newFolder(t)
	a, b := putBlob(t, s, "a", "shared"), putBlob(t, s, "a", "lonely")
	require.NoError(t, s.MountBlob(t.Context(), "b", "a", a))
	desc := putManifest(t, s, "a", "manifest", "t")
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "repositories", "a", "_tags", ".tmp-1"), []byte("x"), 0o600))
	freed, err := s.Collect(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, freed)
	require.Equal(t, 3, files(t, filepath.Join(s.dir, "blobs")))

	require.NoError(t, s.DeleteBlob(t.Context(), "a", a))
	require.NoError(t, s.DeleteBlob(t.Context(), "a", b))
	require.NoError(t, s.DeleteManifest(t.Context(), "a", desc.Digest))
	open := blobReaderOf(t, s, "b", a)
	defer open.Close()
	freed, err = s.Collect(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, len("lonely")+len("manifest"), freed)
	require.Equal(t, "shared", blobText(t, s, "b", a))
}

func blobReaderOf(t testing.TB, s Store, repository string, d digest.Digest) interface{ Close() error } {
	b, err := s.Blob(t.Context(), repository, d)
	require.NoError(t, err)
	return b
}

func TestFolderCheckFinds(t *testing.T) {
	for name, damage := range map[string]func(s *FolderStore, blob, manifest digest.Digest) error{
		"other bytes": func(s *FolderStore, blob, _ digest.Digest) error {
			return os.WriteFile(s.blobPath(blob), []byte("x"), 0o600)
		},
		"missing content":  func(s *FolderStore, blob, _ digest.Digest) error { return os.Remove(s.blobPath(blob)) },
		"missing manifest": func(s *FolderStore, _, m digest.Digest) error { return os.Remove(s.recordPath("a", m)) },
		"damaged record": func(s *FolderStore, _, m digest.Digest) error {
			return os.WriteFile(s.recordPath("a", m), []byte("{}"), 0o600)
		},
		"damaged tag": func(s *FolderStore, _, _ digest.Digest) error {
			return os.WriteFile(s.in("a", "_tags", "t"), nil, 0o600)
		},
		"odd name": func(s *FolderStore, _, _ digest.Digest) error { return mark(s.in("a", "_blobs", "sha256", "x")) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := OpenFolder(t.TempDir())
			if err != nil {
				t.Skip(err)
			}
			blob, manifest := putBlob(t, s, "a", "blob"), putManifest(t, s, "a", "manifest", "t")
			require.NoError(t, s.Check(t.Context()))
			require.NoError(t, damage(s, blob, manifest.Digest))
			require.Error(t, s.Check(t.Context()))
		})
	}
}

// TestFolderDamagedManifest reads a manifest that the disk has changed.
func TestFolderDamagedManifest(t *testing.T) {
	s, err := OpenFolder(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	desc := putManifest(t, s, "a", "manifest", "t")
	require.NoError(t, os.WriteFile(s.blobPath(desc.Digest), []byte("manifesT"), 0o600))
	_, _, err = s.Manifest(t.Context(), "a", "t")
	require.ErrorContains(t, err, "damaged")
}

// TestFolderCollectWhileServing pushes and deletes the same blobs again and again, over HTTP and side by side, while garbage is collected
// without a pause by another process's store. What was acknowledged and not deleted is there, and whole.
func TestFolderCollectWhileServing(t *testing.T) {
	s := newFolder(t)
	host := newServer(t, &Server{Store: s})
	collector, err := OpenFolder(s.dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var collecting, pushing sync.WaitGroup
	collecting.Go(func() {
		for ctx.Err() == nil {
			if _, err := collector.Collect(context.Background()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	layers := [][]byte{randomBytes(1000), randomBytes(70_000)} // of all of them
	for n := range 4 {
		pushing.Go(func() {
			c := newClient(t)
			for i := range 15 {
				ref := parse(t, fmt.Sprintf("%s/app%d:v%d", host, n, i))
				manifest, desc := pushImage(t, c, ref, layers[i%2])
				got, _, err := c.Manifest(t.Context(), ref)
				if err != nil || got.Digest != digest.FromBytes(manifest) {
					t.Error(ref, got.Digest, err)
					return
				}
				if i%3 == 2 { // for the next one it is garbage, or not yet
					err = errors.Join(s.DeleteManifest(t.Context(), ref.Repository, got.Digest), s.DeleteBlob(t.Context(), ref.Repository, desc.Digest))
					if err != nil {
						t.Error(ref, err)
						return
					}
				}
			}
		})
	}
	pushing.Wait()
	cancel()
	collecting.Wait()
	require.False(t, t.Failed())
	for n := range 4 {
		text := blobText(t, s, fmt.Sprint("app", n), digest.FromBytes(layers[1]))
		require.Equal(t, string(layers[1]), text)
	}
}

// TestFolderTwoProcesses lets two stores, as two processes would, take turns at one upload.
func TestFolderTwoProcesses(t *testing.T) {
	one := newFolder(t)
	two, err := OpenFolder(one.dir)
	require.NoError(t, err)
	u, err := one.NewUpload(t.Context(), "a")
	require.NoError(t, err)
	for i, s := range []*FolderStore{one, two, one} {
		_, err = s.AppendUpload(t.Context(), u, int64(2*i), strings.NewReader(fmt.Sprintf("%d,", i)))
		require.NoError(t, err)
	}
	require.NoError(t, two.CommitUpload(t.Context(), u, digest.FromString("0,1,2,")))
	require.Equal(t, "0,1,2,", blobText(t, one, "a", digest.FromString("0,1,2,")))
}

// playWriter pushes images into a folder, over HTTP, says which ones were acknowledged, and never ends.
func playWriter(args []string) int {
	s, err := OpenFolder(args[1])
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	server := httptest.NewServer(&Server{Store: s})
	ctx := context.Background()
	c := new(Client)
	for i := 0; ; i++ {
		ref, err := ParseReference(fmt.Sprintf("%s/app%d:%s%d", strings.TrimPrefix(server.URL, "http://"), i%3, args[2], i))
		if err != nil {
			return 1
		}
		layer := append(randomBytes(100_000), fmt.Sprint(args[2], i)...)
		manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"x/y",`+
			`"digest":"%s","size":%d},"layers":[]}`, digest.FromBytes(layer), len(layer))
		_, err = c.PushBlob(ctx, ref, BlobUpload{Descriptor: describing("", layer), Content: bytes.NewReader(layer)})
		if err == nil {
			err = c.PushManifest(ctx, ref, describing("", manifest), manifest)
		}
		if err == nil && i%4 == 3 {
			_, err = s.Collect(ctx)
		}
		if err != nil {
			fmt.Println("error", err)
			return 1
		}
		fmt.Println("pushed", ref.Repository, ref.Tag)
	}
}

// TestFolderKilled kills a registry in the middle of pushes, again and again: what it acknowledged is there, and whole.
func TestFolderKilled(t *testing.T) {
	s := newFolder(t)
	self, err := os.Executable()
	require.NoError(t, err)
	pushed := 0
	for round := range 15 {
		cmd := exec.Command(self, s.dir, fmt.Sprintf("r%d-", round))
		cmd.Args[0] = "registry-writer"
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		var lines []string
		scanner := bufio.NewScanner(out)
		if round%3 > 0 { // every third round is killed as it starts
			require.True(t, scanner.Scan())
			lines = append(lines, scanner.Text())
		}
		time.Sleep(time.Duration(13*round) * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		for scanner.Scan() {
			lines = append(lines, scanner.Text())
		}
		_ = cmd.Wait()
		for _, line := range lines {
			fields := strings.Fields(line)
			require.Equal(t, "pushed", fields[0], line)
			_, _, err := s.Manifest(t.Context(), fields[1], fields[2])
			require.NoError(t, err)
			pushed++
		}
		require.NoError(t, s.Check(t.Context()))
	}
	require.GreaterOrEqual(t, pushed, 10)
	_, err = s.ExpireUploads(t.Context(), time.Now().Add(time.Second))
	require.NoError(t, err)
	require.Zero(t, files(t, filepath.Join(s.dir, "uploads")))
	_, err = s.Collect(t.Context())
	require.NoError(t, err)
}

// TestShrinkBelowNothing: a size that cannot be is like none.
func TestShrinkBelowNothing(t *testing.T) {
	s, err := OpenFolder(t.TempDir())
	require.NoError(t, err)
	left, err := s.Shrink(t.Context(), -1)
	require.NoError(t, err)
	require.Zero(t, left)
}
