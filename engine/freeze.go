package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// freeze stops the processes of control groups, given by their folders, until the function that it returns is called.
// What was frozen before stays so. Where there is no freezer, nothing happens.
func freeze(ctx context.Context, groups []string) (thaw func() error, err error) {
	for _, dir := range groups {
		for _, f := range freezers {
			path := filepath.Join(dir, f.file)
			was, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("freeze: %w", err)
			}
			if string(bytes.TrimSpace(was)) == f.on {
				return func() error { return nil }, nil
			}
			thaw := func() error { return os.WriteFile(path, []byte(f.off), 0) }
			err = os.WriteFile(path, []byte(f.on), 0)
			for wait := time.Millisecond; err == nil; wait = min(2*wait, 50*time.Millisecond) {
				b, rerr := os.ReadFile(filepath.Join(dir, f.state))
				if err = rerr; err == nil && bytes.Contains(b, []byte(f.frozen)) {
					return thaw, nil
				}
				select {
				case <-ctx.Done():
					err = ctx.Err()
				case <-time.After(wait):
				}
			}
			return nil, errors.Join(fmt.Errorf("freeze %s: %w", dir, err), thaw())
		}
	}
	return func() error { return nil }, nil
}

// freezers are the files of cgroup v2 and v1.
var freezers = []struct{ file, on, off, state, frozen string }{
	{"cgroup.freeze", "1", "0", "cgroup.events", "frozen 1"},
	{"freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN"},
}

// thaw lets the processes of a container go on, whoever froze them. What is gone needs none.
func thaw(groups []string) {
	for _, dir := range groups {
		for _, f := range freezers {
			path := filepath.Join(dir, f.file)
			if was, err := os.ReadFile(path); err == nil && string(bytes.TrimSpace(was)) != f.off {
				_ = os.WriteFile(path, []byte(f.off), 0)
			}
		}
	}
}
