package bundle

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/caisson-engine/caisson/namespace"
)

// FuzzLoad: no configuration makes the reading, the translation or the compilation panic; an error is of a kind that names
// what is wrong.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(least))
	for _, name := range []string{"testdata/runc.json", "testdata/everything.json"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, config []byte) {
		b, err := Parse(config, dir)
		if err != nil {
			return
		}
		if _, err := b.Resources(); err != nil {
			named(t, err)
		}
		_, _ = b.CgroupPath("c")
		_, _ = b.CgroupUnit("c")
		if b.Spec.Linux.Seccomp != nil && len(b.Spec.Linux.Seccomp.Syscalls) > 100 { // it has a fuzz target of its own
			return
		}
		for i := range b.Spec.Linux.Namespaces { // none is opened
			b.Spec.Linux.Namespaces[i].Path = ""
		}
		l, err := b.Launch(&Options{})
		if err != nil {
			named(t, err)
			return
		}
		defer l.Close()
		if _, err := l.Program(); err != nil {
			var start *namespace.StartError
			if e := Explain(err); !errors.As(e, new(*FieldError)) && !errors.As(err, &start) && !errors.Is(err, errors.ErrUnsupported) {
				t.Fatalf("%v", err)
			}
		}
	})
}

func named(t *testing.T, err error) {
	var field *FieldError
	if !errors.As(err, &field) && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no field is named: %v", err)
	}
	if field != nil && field.Field == "" {
		t.Fatalf("the field is empty: %v", err)
	}
}
