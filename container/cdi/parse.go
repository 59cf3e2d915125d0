package cdi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file: bytes, and of YAML the values, those that are there by an alias counted each time, and their depth.
const (
	maxFile  = 1 << 20
	maxNodes = 100_000
	maxDepth = 32
)

// ParseJSON reads a file in JSON and checks it. The error names the field; it satisfies errors.ErrUnsupported if the version is
// none that is known. A field that the specification has not is an error, and so are more than 1 MiB.
func ParseJSON(b []byte) (*File, error) {
	return parse(b, func(f *File) error {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(f); err != nil {
			return err
		}
		if _, err := d.Token(); err != io.EOF {
			return errors.New("there is more after the end of the object")
		}
		return nil
	})
}

// ParseYAML reads a file in YAML and checks it as [ParseJSON] does. It is one document, of at most 100,000 values when aliases stand
// for what they name, and 32 levels.
func ParseYAML(b []byte) (*File, error) {
	return parse(b, func(f *File) error {
		var document yaml.Node
		d := yaml.NewDecoder(bytes.NewReader(b))
		if err := d.Decode(&document); err != nil {
			return err
		}
		if err := d.Decode(new(yaml.Node)); err != io.EOF {
			return errors.New("there is more after the end of the document")
		}
		left := maxNodes
		if err := bound(&document, &left, 0); err != nil {
			return err
		}
		d = yaml.NewDecoder(bytes.NewReader(b))
		d.KnownFields(true)
		return d.Decode(f)
	})
}

func parse(b []byte, decode func(*File) error) (*File, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	f := new(File)
	if err := decode(f); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

// bound counts the values down. An alias that is within what it names is as deep as can be.
func bound(n *yaml.Node, left *int, depth int) error {
	*left--
	switch {
	case depth > maxDepth:
		return fmt.Errorf("line %d: more than %d levels", n.Line, maxDepth)
	case *left < 0:
		return fmt.Errorf("line %d: more than %d values", n.Line, maxNodes)
	case n.Alias != nil:
		return bound(n.Alias, left, depth+1)
	}
	for _, c := range n.Content {
		if err := bound(c, left, depth+1); err != nil {
			return err
		}
	}
	return nil
}
