package build

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

// A state is how far a stage is: an image, and what was said since without making a layer.
type state struct {
	of      *stage
	img     *image.Image // nil for scratch
	config  dockerspec.DockerOCIImageConfig
	history []ocispec.History // since img
	said    int               // history's size, in bytes
	key     string            // of img and of what was said since
	author  string

	args   *variables // of ARG, in this stage
	cmdSet bool       // by CMD in this stage
	// triggers are what the base has for its children.
	triggers []string
}

// id is what is shown as the step's result: the image's ID, or the key of what will be in the next image's configuration.
func (s *state) id() string {
	if s.img != nil && len(s.history) == 0 {
		return s.img.ID.Encoded()[:12]
	}
	return s.key[:12]
}

func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// env is what variables an instruction sees: those of ARG, and those of ENV, which go before.
func (s *state) env() *variables {
	return newVariables(s.args.list, s.config.Env)
}

// from begins a stage.
func (b *builder) from(s *stage) (*state, error) {
	st := &state{of: s, args: newVariables()}
	switch {
	case s.parent != nil:
		p, err := b.stage(s.parent)
		if err != nil {
			return nil, err
		}
		st.img, st.history, st.said, st.key, st.author = p.img, slices.Clone(p.history), p.said, p.key, p.author
		st.config = cloneConfig(p.config)
	case s.base == "scratch":
		st.key = hash("scratch", b.platform(s), b.epochText())
	default:
		img, err := b.image(s.base, b.platform(s))
		if err != nil {
			return nil, err
		}
		st.img, st.author = img, img.Config.Author
		var doc struct {
			Config dockerspec.DockerOCIImageConfig `json:"config"`
		}
		if err := json.Unmarshal(img.ConfigJSON, &doc); err != nil {
			return nil, fmt.Errorf("image %s: configuration: %w", s.base, err)
		}
		st.config, st.key = doc.Config, hash("image", img.ID.String(), b.epochText())
	}
	st.triggers, st.config.OnBuild = st.config.OnBuild, nil
	return st, nil
}

func cloneConfig(c dockerspec.DockerOCIImageConfig) dockerspec.DockerOCIImageConfig {
	c.Env, c.OnBuild = slices.Clone(c.Env), slices.Clone(c.OnBuild)
	c.Labels, c.Volumes, c.ExposedPorts = maps.Clone(c.Labels), maps.Clone(c.Volumes), maps.Clone(c.ExposedPorts)
	return c
}

func (b *builder) platform(s *stage) string { return cmp.Or(s.platform, b.o.Platform) }

func (b *builder) epochText() string { return b.o.Args["SOURCE_DATE_EPOCH"] }

// now is the time of what is made.
func (b *builder) now() time.Time {
	if !b.epoch.IsZero() {
		return b.epoch
	}
	return time.Now().UTC()
}

// image returns an image by its name, pulled if need be, and keeps it from being deleted while the build goes on.
func (b *builder) image(ref, platform string) (*image.Image, error) {
	if img := b.images[ref+" "+platform]; img != nil {
		return img, nil
	}
	img, err := b.e.ImageFor(b.ctx, ref, platform)
	if errors.Is(err, fs.ErrNotExist) || err == nil && b.o.Pull && !isID(ref) {
		p := &engine.PullOptions{Platform: platform, Progress: b.o.Progress}
		if b.o.Credential != nil {
			p.Credential = b.o.Credential(ref)
		}
		img, err = b.e.Pull(b.ctx, ref, p)
	}
	if err != nil {
		return nil, err
	}
	b.images[ref+" "+platform] = img
	return img, b.hold(img)
}

func isID(ref string) bool {
	_, err := registry.ParseReference(ref)
	return err != nil
}

func (b *builder) hold(img *image.Image) error {
	release, err := b.store.Hold(b.ctx, img)
	if err == nil {
		b.held = append(b.held, release)
	}
	return err
}

// note notes a step that made no layer.
func (b *builder) note(s *state, text string) error {
	return b.noteAs(s, "/bin/sh -c #(nop)  "+text)
}

// maxSaid bounds what instructions say that make no layer, in bytes: a configuration has it.
const maxSaid = 4 << 20

// noteAs notes a step by the words of its history. The key has the configuration, too: different ones may have the same words.
func (b *builder) noteAs(s *state, createdBy string) error {
	if s.said += len(createdBy); s.said > maxSaid {
		return fmt.Errorf("instructions of more than %d bytes since the last layer: %w", maxSaid, errTooLarge)
	}
	config, err := json.Marshal(s.config)
	if err != nil {
		return err
	}
	now := b.now()
	s.history = append(s.history, ocispec.History{Created: &now, CreatedBy: createdBy, Author: s.author, EmptyLayer: true})
	s.key = hash(s.key, createdBy, s.author, string(config))
	return nil
}

// cached looks for what a step made before.
func (b *builder) cached(s *state, key string) (bool, error) {
	hit, err := b.lookup(s, key)
	if hit {
		b.say(" ---> Using cache")
	}
	return hit, err
}

func (b *builder) lookup(s *state, key string) (bool, error) {
	if b.o.NoCache {
		return false, nil
	}
	img, err := b.store.Cached(b.ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := b.hold(img); err != nil {
		return false, err
	}
	b.rebase(s, img)
	return true, nil
}

// rebase goes on from an image that has all that the state had.
func (b *builder) rebase(s *state, img *image.Image) {
	s.img, s.history, s.said, s.key = img, nil, 0, hash("image", img.ID.String(), b.epochText())
}

// options are those of the image that a step makes.
func (b *builder) options(s *state, key, createdBy string) *image.CommitOptions {
	config := cloneConfig(s.config)
	o := &image.CommitOptions{
		Parent: s.img, Platform: b.platform(s.of), History: s.history, CacheKey: key, CreatedBy: createdBy, Author: s.author, Created: b.now(),
		Edit:  func(c *ocispec.ImageConfig) { *c = config.ImageConfig },
		Extra: map[string]any{"OnBuild": nil, "Shell": nil, "Healthcheck": nil},
	}
	if len(config.OnBuild) > 0 {
		o.Extra["OnBuild"] = config.OnBuild
	}
	if len(config.Shell) > 0 {
		o.Extra["Shell"] = config.Shell
	}
	if config.Healthcheck != nil {
		o.Extra["Healthcheck"] = config.Healthcheck
	}
	return o
}

// commit makes an image by a layer that tar writes.
func (b *builder) commit(s *state, key, createdBy string, tar func(io.Writer) error) error {
	img, err := b.store.Commit(b.ctx, tar, b.options(s, key, createdBy))
	if err != nil {
		return err
	}
	if err := b.hold(img); err != nil {
		return err
	}
	b.rebase(s, img)
	return nil
}

// finish makes an image of a stage.
func (b *builder) finish(s *state) (*image.Image, error) {
	switch {
	case s.img == nil && len(s.history) == 0:
		return nil, bad("no image was generated: nothing follows FROM scratch")
	case s.img != nil && len(s.history) == 0:
		return s.img, nil
	}
	key := hash(s.key, "image")
	hit, err := b.lookup(s, key)
	if err != nil || hit {
		return s.img, err
	}
	if s.img == nil { // an image has a layer at least
		err = b.commit(s, key, "/bin/sh -c #(nop)  FROM scratch", func(w io.Writer) error {
			_, err := w.Write(make([]byte, 1024)) // the end of an archive
			return err
		})
	} else {
		err = b.commit(s, key, "", nil)
	}
	return s.img, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
