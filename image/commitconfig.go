package image

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layerType says what a layer's stream is by its first bytes, which the reader gives again. What is neither gzip nor
// zstd is taken for a plain one; extraction will tell.
func layerType(r io.Reader) (io.Reader, string, error) {
	br := bufio.NewReader(r)
	head, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return br, ocispec.MediaTypeImageLayerGzip, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return br, ocispec.MediaTypeImageLayerZstd, nil
	}
	return br, ocispec.MediaTypeImageLayer, nil
}

// A rawConfig is a configuration as it is written, so that what is not known here is kept.
type rawConfig map[string]json.RawMessage

func (r rawConfig) set(key string, v any) error {
	b, err := marshal(v)
	if err == nil {
		r[key] = b
	}
	return err
}

// marshal is json.Marshal that leaves <, > and & as they are, as Docker does.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// newConfig returns the configuration of the image with one more layer, or none if diffID is "".
func (o *CommitOptions) newConfig(diffID digest.Digest) ([]byte, error) {
	raw, old := rawConfig{}, ocispec.Image{}
	if o.Parent != nil {
		if err := json.Unmarshal(o.Parent.ConfigJSON, &raw); err != nil {
			return nil, invalid("configuration: %v", err)
		}
		old = o.Parent.Config
	}
	inner := rawConfig{}
	if b := raw["config"]; len(b) > 0 {
		if err := json.Unmarshal(b, &inner); err != nil {
			return nil, invalid("configuration: %v", err)
		}
		if inner == nil { // it is null
			inner = rawConfig{}
		}
	}
	if err := o.edit(inner); err != nil {
		return nil, err
	}
	if err := o.platform(raw, old.Platform); err != nil {
		return nil, err
	}
	created := cmp.Or(o.Created, time.Now()).UTC()
	author := cmp.Or(o.Author, old.Author)
	history := slices.Clone(old.History)
	if o.flat {
		old.RootFS.DiffIDs = nil
		for i := range history {
			history[i].EmptyLayer = true
		}
	}
	history = append(history, o.History...)
	rootFS := ocispec.RootFS{Type: "layers", DiffIDs: slices.Clone(old.RootFS.DiffIDs)}
	if diffID != "" {
		history = append(history, ocispec.History{
			Created: &created, CreatedBy: o.CreatedBy, Author: o.Author, Comment: o.Comment,
		})
		rootFS.DiffIDs = append(rootFS.DiffIDs, diffID)
	}
	for key, v := range map[string]any{"created": created, "history": history, "rootfs": rootFS, "config": inner} {
		if err := raw.set(key, v); err != nil {
			return nil, err
		}
	}
	if author != "" {
		if err := raw.set("author", author); err != nil {
			return nil, err
		}
	}
	// What the parent says of how itself was made.
	for _, key := range []string{"container", "container_config", "id", "parent", "moby.buildkit.buildinfo.v1"} {
		delete(raw, key)
	}
	b, err := marshal(raw)
	if err == nil && len(b) > maxConfig {
		err = invalid("configuration of %d bytes; at most %d are read", len(b), maxConfig)
	}
	return b, err
}

func (o *CommitOptions) platform(raw rawConfig, old ocispec.Platform) error {
	p := old
	if o.Parent == nil {
		var err error
		if p, err = parsePlatform(o.Platform); err != nil {
			return err
		}
	}
	for key, v := range map[string]string{"os": p.OS, "architecture": p.Architecture, "variant": p.Variant} {
		if _, has := raw[key]; has || v == "" {
			continue
		}
		if err := raw.set(key, v); err != nil {
			return err
		}
	}
	return nil
}

// edit applies Edit and Changes to the part of the configuration that says how to run the image.
func (o *CommitOptions) edit(inner rawConfig) error {
	b, err := marshal(inner)
	if err != nil {
		return err
	}
	c := changing{raw: inner}
	if err := json.Unmarshal(b, &c.config); err != nil {
		return invalid("configuration: %v", err)
	}
	if o.Edit != nil {
		o.Edit(&c.config)
	}
	if o.Healthcheck != nil {
		if err := inner.set("Healthcheck", o.Healthcheck); err != nil {
			return err
		}
	}
	for key, v := range o.Extra {
		if v == nil {
			delete(inner, key)
		} else if err := inner.set(key, v); err != nil {
			return err
		}
	}
	for _, line := range o.Changes {
		if err := c.apply(line); err != nil {
			return err
		}
	}
	b, err = marshal(c.config)
	if err != nil {
		return err
	}
	known := rawConfig{}
	if err := json.Unmarshal(b, &known); err != nil {
		return err
	}
	// ArgsEscaped is deprecated, and kept as it was.
	for _, key := range []string{
		"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
	} {
		if v, ok := known[key]; ok {
			inner[key] = v
		} else {
			delete(inner, key)
		}
	}
	return nil
}
