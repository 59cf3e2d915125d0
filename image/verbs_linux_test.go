package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// The verbs that change a store, as a program that is killed and as what a full disk ends.
type verbs struct {
	s       *Store
	client  *registry.Client
	ref     string // to pull
	to      string // to push to
	archive string // to load
	tar     []byte // of a layer to commit
	scratch string // to save into
}

var verbNames = []string{"pull", "load", "commit", "import", "save", "tag", "push", "extract", "remove", "prune"}

func (v *verbs) do(ctx context.Context, name string) error {
	switch name {
	case "pull":
		_, err := Pull(ctx, v.s, v.ref, &PullOptions{Client: v.client})
		return err
	case "load":
		f, err := os.Open(v.archive)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = v.s.Load(ctx, f, nil)
		return err
	case "commit":
		parent, err := v.s.Get(ctx, v.ref, nil)
		if errors.Is(err, ErrNotFound) {
			parent, err = nil, nil
		}
		if err != nil {
			return err
		}
		_, err = v.s.Commit(ctx, writes(v.tar), &CommitOptions{Name: "committed", Parent: parent})
		return err
	case "import":
		_, err := v.s.ImportTar(ctx, bytes.NewReader(v.tar), &CommitOptions{Name: "imported"})
		return err
	case "save":
		f, err := os.Create(v.scratch)
		if err != nil {
			return err
		}
		err = v.s.Save(ctx, f, []string{"committed"}, nil)
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return errors.Join(err, f.Close(), os.Remove(v.scratch))
	case "tag":
		img, err := v.s.Lookup(ctx, "committed", nil)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return v.s.Tag(ctx, img.ID.String(), "tagged")
	case "push":
		err := v.s.Tag(ctx, "committed", v.to)
		if err == nil {
			_, err = Push(ctx, v.s, v.to, &PushOptions{Client: v.client})
		}
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	case "extract": // of a layer, under no image
		p, err := v.s.Layers().Extract(ctx, bytes.NewReader(v.tar), nil)
		if err != nil {
			return err
		}
		_, err = v.s.Layers().Commit(ctx, p)
		return err
	case "remove":
		for _, ref := range []string{"tagged", "imported", v.ref} {
			if _, err := v.s.Remove(ctx, ref, nil); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	}
	_, err := v.s.Prune(ctx, &PruneOptions{Untagged: true, Budget: 3 << 20})
	return err
}

// verbsProgram does the verbs in turns, from the one named on, until it is killed: dir, ref, to, archive, tar, verb.
func verbsProgram(args []string) int {
	v, err := newVerbs(args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	first, err := strconv.Atoi(args[6])
	if err != nil {
		return 2
	}
	for i := first; ; i++ {
		if err := v.do(context.Background(), verbNames[i%len(verbNames)]); err != nil {
			fmt.Fprintln(os.Stderr, verbNames[i%len(verbNames)], err)
			return 1
		}
	}
}

func newVerbs(args []string) (*verbs, error) {
	s, err := Open(args[0])
	if err != nil {
		return nil, err
	}
	tar, err := os.ReadFile(args[4])
	return &verbs{s: s, client: &registry.Client{}, ref: args[1], to: args[2], archive: args[3], tar: tar,
		scratch: filepath.Join(args[0], "saved.tar")}, err
}

// verbSources makes what the verbs read, and the arguments of newVerbs for a store in dir.
func verbSources(t *testing.T, dir string) []string {
	f := newFakeRegistry(t)
	layers := func(seed uint64) (all []testLayer) {
		for n := range uint64(3) {
			l := testLayer{}
			for k := range 20 {
				l[fmt.Sprintf("d%d/f%d", n, k)] = noise(seed+n*100+uint64(k), 10<<10)
			}
			all = append(all, l)
		}
		return all
	}
	f.add(t, testImage{layers: layers(1)}, "v1")
	other := newFakeRegistry(t)
	other.add(t, testImage{layers: layers(1000)}, "v1")
	s := openStore(t, t.TempDir())
	img, err := Pull(t.Context(), s, other.ref("app:v1"), nil)
	require.NoError(t, err)
	s.mustTag(t, img.ID.String(), "loaded")
	sources := t.TempDir()
	archive, tar := filepath.Join(sources, "archive"), filepath.Join(sources, "tar")
	require.NoError(t, os.WriteFile(archive, mustSave(t, s, nil, "loaded"), 0o600))
	require.NoError(t, os.WriteFile(tar, testLayer{"new": noise(5000, 200<<10), "d0/f1": "changed"}.tar(t), 0o600))
	to := httptest.NewServer(&registry.Server{})
	t.Cleanup(to.Close)
	return []string{dir, f.ref("app:v1"), strings.TrimPrefix(to.URL, "http://") + "/pushed:v1", archive, tar}
}

// requireAsDu is that the store says of itself what du says.
func requireAsDu(t *testing.T, s *Store) {
	t.Helper()
	u, err := s.DiskUsage(t.Context(), nil)
	require.NoError(t, err)
	out, err := exec.Command("du", "-s", "-c", "-B1", s.Dir(), s.Layers().Dir()).Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	du, err := strconv.ParseInt(strings.Fields(lines[len(lines)-1])[0], 10, 64)
	require.NoError(t, err)
	require.Equal(t, du, u.Total(), "%+v", u)
	require.LessOrEqual(t, u.Reclaimable, u.Blobs+u.Layers)
}

// TestDiskUsageErofs: what the store says of layers that are EROFS images is what du says, too.
func TestDiskUsageErofs(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 6, 12)
	testenv.RequireCommand(t, "mkfs.erofs")
	testenv.RequireCommand(t, "du")
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	if err := s.Layers().Use(layer.EROFS); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err) // a module that a virtual machine does not have
	} else {
		require.NoError(t, err)
	}
	f.add(t, testImage{layers: []testLayer{{"a": noise(1, 300<<10)}, {"b": noise(2, 1<<10)}}}, "v1")
	_, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
	require.NoError(t, err)
	requireAsDu(t, s)
	_, err = s.Remove(t.Context(), f.ref("app:v1"), nil)
	require.NoError(t, err)
	requireAsDu(t, s)
}

// TestVerbsKilled kills a program that pulls, loads, commits, imports, saves, tags, pushes, extracts, removes and prunes at
// random moments, in each of them. The store is whole every time, is told from du by nothing, and works.
func TestVerbsKilled(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "du")
	dir := t.TempDir()
	args := verbSources(t, dir)
	rounds := 40
	if testing.Short() {
		rounds = len(verbNames)
	}
	kills := 0
	for round := range rounds {
		var out bytes.Buffer
		cmd := &exec.Cmd{Path: "/proc/self/exe", Args: append(append([]string{"image-verbs"}, args...), strconv.Itoa(round)),
			Stdout: &out, Stderr: &out}
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(15+rand.IntN(150)) * time.Millisecond)
		if cmd.Process.Kill() == nil {
			kills++
		}
		err := cmd.Wait()
		require.ErrorContains(t, err, "killed", out.String())
		s, err := Open(dir)
		require.NoError(t, err)
		require.NoError(t, s.Check(t.Context(), &CheckOptions{Deep: true}), "round %d", round)
		requireAsDu(t, s)
	}
	require.Greater(t, kills, rounds/2)
	v, err := newVerbs(args)
	require.NoError(t, err)
	defer v.client.CloseIdleConnections()
	for _, name := range verbNames {
		require.NoError(t, v.do(t.Context(), name), name)
	}
	_, err = v.s.Prune(t.Context(), &PruneOptions{Unused: true})
	require.NoError(t, err)
	checkStore(t, v.s)
	require.Empty(t, left(t, v.s))
	requireAsDu(t, v.s)
	u, err := v.s.DiskUsage(t.Context(), nil)
	require.NoError(t, err)
	require.Zero(t, u.Blobs)
	require.Zero(t, u.Images)
	list, err := v.s.Layers().List()
	require.NoError(t, err)
	require.Empty(t, list)
}

// fill leaves so many KiB of a file system, and returns a function that makes space again.
func fill(t *testing.T, at string, leave int64) func() {
	t.Helper()
	path := filepath.Join(at, "ballast")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for size := int64(0); ; {
		var st syscall.Statfs_t
		require.NoError(t, syscall.Statfs(at, &st))
		more := int64(st.Bavail)*st.Bsize - leave<<10
		if more <= 0 {
			break
		}
		err := syscall.Fallocate(int(f.Fd()), 0, size, more)
		if errors.Is(err, syscall.ENOSPC) { // its map of blocks takes some, too
			err = syscall.Fallocate(int(f.Fd()), 0, size, max(4<<10, more/2))
			more = max(4<<10, more/2)
		}
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		require.NoError(t, err)
		size += more
	}
	return func() { require.NoError(t, os.Remove(path)) }
}

// TestVerbsFullDisk is every verb on a file system that is nearly full: the error says so, nothing is left behind, and it
// works when there is space again.
func TestVerbsFullDisk(t *testing.T) {
	at := testenv.NewDisk(t, 12)
	args := verbSources(t, filepath.Join(at, "store"))
	v, err := newVerbs(args)
	require.NoError(t, err)
	defer v.client.CloseIdleConnections()
	empty := func() {
		_, err := v.s.Prune(t.Context(), &PruneOptions{Unused: true})
		require.NoError(t, err)
	}
	for _, name := range []string{"pull", "load", "commit", "import", "save", "extract"} {
		for _, leave := range []int64{0, 40, 300} {
			t.Run(fmt.Sprintf("%s %d", name, leave), func(t *testing.T) {
				if name == "save" {
					require.NoError(t, v.do(t.Context(), "commit"))
				}
				before, err := v.s.List(t.Context())
				require.NoError(t, err)
				free := fill(t, at, leave)
				err = v.do(t.Context(), name)
				free()
				if leave < 300 || name == "pull" || name == "load" {
					require.ErrorIs(t, err, syscall.ENOSPC)
					require.ErrorContains(t, err, "no space left")
				}
				after, lerr := v.s.List(t.Context())
				require.NoError(t, lerr)
				if err != nil {
					require.Len(t, after, len(before), "an image more than before")
				}
				require.NoFileExists(t, v.scratch)
				require.Empty(t, left(t, v.s))
				require.NoError(t, v.s.Check(t.Context(), &CheckOptions{Deep: true}))
				require.NoError(t, v.do(t.Context(), name), "there is space again")
				empty()
				requireAsDu(t, v.s)
			})
		}
	}
	// What makes space must work without any.
	require.NoError(t, v.do(t.Context(), "pull"))
	require.NoError(t, v.do(t.Context(), "commit"))
	free := fill(t, at, 0)
	require.NoError(t, v.do(t.Context(), "remove"))
	require.FileExists(t, v.s.path(reserveName), "made again")
	free()
	free = fill(t, at, 0)
	_, err = v.s.Prune(t.Context(), &PruneOptions{Unused: true})
	require.NoError(t, err)
	free()
	empty()
	checkStore(t, v.s)
}

// TestLeaseOutlastsPrune is a pull that is under way while another program prunes and removes again and again.
func TestLeaseOutlastsPrune(t *testing.T) {
	testenv.RequireRoot(t)
	dir := t.TempDir()
	args := verbSources(t, dir)
	v, err := newVerbs(args)
	require.NoError(t, err)
	defer v.client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	pruned := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if _, err := v.s.Prune(context.Background(), &PruneOptions{Unused: true}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
		pruned <- n
	}()
	for range 5 {
		// Not pruned between its end and the look at it: it is held.
		img, err := Pull(t.Context(), v.s, v.ref, nil)
		require.NoError(t, err)
		release, err := v.s.Hold(t.Context(), img)
		if errors.Is(err, ErrNotFound) {
			continue // it was, just then
		}
		require.NoError(t, err)
		for _, l := range img.Layers {
			require.DirExists(t, l.Dir)
		}
		for _, d := range img.blobs {
			f, err := v.s.OpenBlob(d.Digest)
			require.NoError(t, err)
			got, err := d.Digest.Algorithm().FromReader(f)
			require.NoError(t, err)
			require.Equal(t, d.Digest, got)
			require.NoError(t, f.Close())
		}
		require.NoError(t, release())
	}
	cancel()
	require.Greater(t, <-pruned, 5)
}
