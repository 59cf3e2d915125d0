package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/internal/hook"
	"github.com/caisson-engine/caisson/internal/plainjson"
)

// MaxConfig is how long a config.json may be, in bytes.
const MaxConfig = 16 << 20

// A Bundle is a folder with a configuration that was read.
type Bundle struct {
	// Dir is the folder, an absolute path: what is relative in the configuration is below it.
	Dir string
	// Spec is the configuration. Process, Root and Linux are not nil.
	Spec *specs.Spec
	// Config is config.json as it was read.
	Config []byte
}

// A FieldError says that a field of a configuration cannot be used.
type FieldError struct {
	// Field is its path in config.json, "process.rlimits[1].type".
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *FieldError) Unwrap() error { return e.Err }

func wrong(field, format string, args ...any) error {
	return &FieldError{Field: field, Err: fmt.Errorf(format, args...)}
}

// Read reads the configuration of the bundle in a folder, for Parse, and makes the folder's path absolute. The error satisfies
// fs.ErrNotExist if there is no config.json.
func Read(dir string) (config []byte, abs string, err error) {
	if abs, err = filepath.Abs(dir); err != nil {
		return nil, "", fmt.Errorf("bundle: %w", err)
	}
	f, err := os.Open(filepath.Join(abs, "config.json"))
	if err != nil {
		return nil, "", fmt.Errorf("bundle: %w", err)
	}
	defer f.Close()
	// Its size at the start, so that it is read into one piece of memory.
	var b bytes.Buffer
	if i, err := f.Stat(); err == nil {
		b.Grow(int(min(i.Size(), MaxConfig)) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(f, MaxConfig+1)); err != nil {
		return nil, "", fmt.Errorf("bundle: %w", err)
	}
	return b.Bytes(), abs, nil
}

// Parse decodes a configuration and looks at every field, so that most of what is wrong is found before anything is made. An error about
// a field is a [*FieldError]. dir is the bundle's folder, an absolute path.
func Parse(config []byte, dir string) (*Bundle, error) {
	if len(config) > MaxConfig {
		return nil, fmt.Errorf("config.json: it is longer than %d bytes", MaxConfig)
	}
	b := &Bundle{Dir: dir, Spec: &specs.Spec{}, Config: config}
	if err := plainjson.Unmarshal(config, b.Spec); err != nil {
		return nil, decodeError(err)
	}
	return b, b.check()
}

// decodeError names the field of a value of the wrong type.
func decodeError(err error) error {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) && wrongType.Field != "" {
		return wrong(wrongType.Field, "%s is no %s", wrongType.Value, wrongType.Type)
	}
	return fmt.Errorf("config.json: %w", err)
}

// Rootfs is the path of the root file system on the host.
func (b *Bundle) Rootfs() string { return b.below(b.Spec.Root.Path) }

// below is a path that may be relative to the bundle.
func (b *Bundle) below(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(b.Dir, path)
}

// check finds what no runtime could run.
func (b *Bundle) check() error {
	s := b.Spec
	switch {
	case s.Version == "":
		return wrong("ociVersion", "there is none")
	case !strings.HasPrefix(s.Version, "1."):
		return wrong("ociVersion", "%q is not 1.x", s.Version)
	case s.Root == nil || s.Root.Path == "":
		return wrong("root.path", "there is none")
	case s.Linux == nil:
		return wrong("linux", "there is none: this is a runtime for Linux")
	case s.Process == nil:
		return wrong("process", "there is none")
	case s.VM != nil:
		return wrong("vm", "there is no hypervisor: %w", errors.ErrUnsupported)
	case s.Linux.IntelRdt != nil:
		return wrong("linux.intelRdt", "groups of resctrl are not made: %w", errors.ErrUnsupported)
	}
	if err := checkProcess(s.Process); err != nil {
		return err
	}
	if err := b.checkListener(); err != nil {
		return err
	}
	if err := b.checkNetDevices(); err != nil {
		return err
	}
	return b.checkHooks()
}

func (b *Bundle) checkHooks() error {
	if field, err := hook.Check(b.Spec.Hooks); err != nil {
		return &FieldError{Field: "hooks." + field, Err: err}
	}
	return nil
}
