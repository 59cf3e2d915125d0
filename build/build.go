package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

// Options say how an image is built. The zero value of each field is Docker's default.
type Options struct {
	// Dockerfile is the Dockerfile's path in the context. Empty means "Dockerfile". Content, if it is not nil, is the Dockerfile itself, of
	// 1 MiB at most.
	Dockerfile string
	Content    []byte
	// Tags are names that the image gets, which others lose that have them.
	Tags []string
	// Args are values for what ARG declares. HTTP_PROXY and its like are for RUN without being declared, and are neither in the history nor
	// in the cache's keys. SOURCE_DATE_EPOCH, seconds since 1970, is the time of all that is made: of the image, its history, and of files in
	// layers of COPY and ADD that are newer, so that the same input gives the same layers.
	Args map[string]string
	// Target is the stage to build, its name or number. Empty means the last one.
	Target string
	// Labels are added to the image.
	Labels map[string]string
	// Platform, such as "linux/arm64", is that of images that FROM names without one. Empty means the machine's.
	Platform string
	// NoCache takes nothing from the cache. Pull asks registries for images that are there, too.
	NoCache, Pull bool
	// Secrets are what RUN --mount=type=secret gets by its id, 500 KiB each at most. They are in no layer and no key.
	Secrets map[string][]byte
	// Container is what the containers of RUN are made with besides what the Dockerfile says: limits, hosts, the network. Image, Command and
	// other fields that a Dockerfile decides have no effect.
	Container engine.Config
	// Credential returns what the registry of the image ref is shown. Nil means what the engine's client has.
	Credential func(ref string) registry.Credential
	// Output gets what is done, in the words of Docker's classic builder, and what RUN prints. Nil means nobody. It is
	// written to by one goroutine at a time.
	Output io.Writer
	// Progress is told how pulls go on. Nil means nobody.
	Progress func(image.Event)
	// MaxContext bounds the bytes of the context's files when it comes as a stream. 0 means 16 GiB. MaxNames bounds their number, and that of
	// what one COPY or ADD copies. 0 means 1,048,576. MaxDownload bounds what ADD fetches, in bytes. 0 means 4 GiB.
	MaxContext, MaxNames, MaxDownload int64
}

// A RunError is returned when a command of RUN ended with a status other than zero, or was killed.
type RunError struct {
	Command string
	Code    int   // as a shell has it
	Err     error // how it ended: a *container.ExitError
}

func (e *RunError) Error() string {
	return fmt.Sprintf("The command '%s' returned a non-zero code: %d", e.Command, e.Code)
}

// Unwrap returns Err.
func (e *RunError) Unwrap() error { return e.Err }

// builderLabel is the label of the containers of RUN: the name of the folder of the build that they belong to, which is gone when that was
// killed and the engine opened again.
const builderLabel = "io.caisson.build"

// A builder is one call of Build.
type builder struct {
	ctx     context.Context
	e       *engine.Engine
	store   *image.Store
	o       *Options
	plan    *plan
	source  *source // the context
	scratch string
	done    map[*stage]*state
	images  map[string]*image.Image // that were asked for by name
	held    []func() error
	epoch   time.Time // of SOURCE_DATE_EPOCH
	used    map[string]bool
	step    int
	steps   int
}

// Build makes an image of a context's Dockerfile. c may be nil, which is an empty context. ctx bounds all of it: when it ends, the command that runs is
// killed. When Build fails, steps that were made whole stay in the cache, and nothing else. The image is in the store, and has its names, when
// Build returns without an error.
//
// Errors: a *SyntaxError says where in the Dockerfile; what it wraps may be ErrSyntax, a *RunError, errors.ErrUnsupported for what is not
// implemented, registry's and engine's.
func Build(ctx context.Context, e *engine.Engine, c *Context, o *Options) (_ *image.Image, err error) {
	own := Options{}
	if o != nil {
		own = *o
	}
	if o = &own; o.Output != nil {
		o.Output = &output{w: o.Output}
	}
	b := &builder{
		ctx: ctx, e: e, store: e.ImageStore(), o: o, done: map[*stage]*state{}, images: map[string]*image.Image{}, used: map[string]bool{},
	}
	defer func() {
		for _, f := range slices.Backward(b.held) {
			err = errors.Join(err, f())
		}
	}()
	if err := b.check(); err != nil {
		return nil, err
	}
	var release func() error
	if b.scratch, release, err = e.Scratch(ctx); err != nil {
		return nil, err
	}
	b.held = append(b.held, release)
	if err := b.sweep(); err != nil {
		return nil, err
	}
	if err := b.open(c); err != nil {
		return nil, err
	}
	content, err := b.dockerfile()
	if err != nil {
		return nil, err
	}
	d, err := parse(o.file(), content)
	if err != nil {
		return nil, err
	}
	if b.plan, err = newPlan(d, o); err != nil {
		return nil, err
	}
	return b.build()
}

// An output is written to by both of a command's outputs and by who runs it, one at a time.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}

// file is the Dockerfile's name in errors.
func (o *Options) file() string {
	if o.Dockerfile == "" {
		return "Dockerfile"
	}
	return o.Dockerfile
}

// check refuses options before anything is done.
func (b *builder) check() error {
	for _, t := range b.o.Tags {
		r, err := registry.ParseReference(t)
		if err == nil && r.Digest != "" {
			err = fmt.Errorf("%w: it has a digest", registry.ErrInvalidReference)
		}
		if err != nil {
			return fmt.Errorf("tag %q: %w", t, err)
		}
	}
	for id, secret := range b.o.Secrets {
		if len(secret) > maxSecret {
			return fmt.Errorf("secret %q has %d bytes; at most %d are allowed", id, len(secret), maxSecret)
		}
	}
	if v, ok := b.o.Args["SOURCE_DATE_EPOCH"]; ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 || n > 1<<37 {
			return fmt.Errorf("build argument SOURCE_DATE_EPOCH: %q is no number of seconds since 1970", v)
		}
		b.epoch = time.Unix(n, 0).UTC()
	}
	return nil
}

// sweep removes the containers of builds that were killed.
func (b *builder) sweep() error {
	list, err := b.e.List(b.ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		of := c.Labels[builderLabel]
		if of != "" && !exists(filepath.Join(filepath.Dir(b.scratch), filepath.Base(of))) {
			if err := b.e.Remove(b.ctx, c.ID, &engine.RemoveOptions{Force: true, Volumes: true}); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// say writes a line to the output. Who does not want it any more is not waited for.
func (b *builder) say(format string, args ...any) {
	if b.o.Output != nil {
		fmt.Fprintf(b.o.Output, format+"\n", args...)
	}
}

// build builds the stages and names the last one's image.
func (b *builder) build() (*image.Image, error) {
	target := b.plan.needed[len(b.plan.needed)-1]
	if b.steps = b.plan.steps; len(b.o.Labels) > 0 {
		b.steps++
	}
	for _, s := range b.plan.needed {
		if _, err := b.stage(s); err != nil {
			return nil, err
		}
	}
	st := b.done[target]
	if len(b.o.Labels) > 0 {
		if err := b.labels(st); err != nil {
			return nil, err
		}
	}
	img, err := b.finish(st)
	if err != nil {
		return nil, &SyntaxError{File: b.o.file(), Err: err}
	}
	if err := b.name(img); err != nil {
		return nil, err
	}
	var unused []string
	for name := range b.o.Args {
		if !b.used[name] && !predefined[name] && name != "SOURCE_DATE_EPOCH" {
			unused = append(unused, name)
		}
	}
	if slices.Sort(unused); len(unused) > 0 {
		b.say("[Warning] One or more build-args %v were not consumed", unused)
	}
	b.say("Successfully built %s", img.ID.Encoded()[:12])
	for _, t := range b.o.Tags {
		b.say("Successfully tagged %s", familiar(t))
	}
	return img, nil
}

// name gives the image the names that are wanted, and says in it what names it has.
func (b *builder) name(img *image.Image) error {
	for _, t := range b.o.Tags {
		if err := b.e.Tag(b.ctx, img.ID.String(), t); err != nil {
			return err
		}
	}
	if len(b.o.Tags) == 0 {
		if err := b.store.Show(b.ctx, img); err != nil {
			return err
		}
	}
	named, err := b.store.Lookup(b.ctx, img.Digest.String(), nil)
	if err != nil {
		return err
	}
	img.Names = named.Names
	return nil
}

// familiar is a name as Docker shows it, with a tag.
func familiar(name string) string {
	r, err := registry.ParseReference(name)
	if err != nil {
		return name
	}
	s := strings.TrimPrefix(r.String(), "docker.io/")
	return strings.TrimPrefix(s, "library/")
}

// labels adds the labels of the options, as LABEL at the end would.
func (b *builder) labels(s *state) error {
	var text strings.Builder
	text.WriteString("LABEL")
	s.config.Labels = maps.Clone(s.config.Labels)
	for _, name := range slices.Sorted(maps.Keys(b.o.Labels)) {
		if s.config.Labels == nil {
			s.config.Labels = map[string]string{}
		}
		s.config.Labels[name] = b.o.Labels[name]
		fmt.Fprintf(&text, " %s=%s", name, b.o.Labels[name])
	}
	b.announce(text.String())
	if err := b.note(s, text.String()); err != nil {
		return err
	}
	b.say(" ---> %.12s", s.key)
	return nil
}

func (b *builder) announce(text string) {
	b.step++
	b.say("Step %d/%d : %s", b.step, b.steps, text)
}

// stage builds a stage, unless it is.
func (b *builder) stage(s *stage) (_ *state, err error) {
	if st := b.done[s]; st != nil {
		return st, nil
	}
	at := s.from.line
	defer func() {
		var known *SyntaxError
		if err != nil && !errors.As(err, &known) {
			err = &SyntaxError{File: b.o.file(), Line: at, Err: err}
		}
	}()
	b.announce(s.from.text)
	st, err := b.from(s)
	if err != nil {
		return nil, err
	}
	b.say(" ---> %s", st.id())
	if err := b.triggers(st); err != nil {
		return nil, err
	}
	for i := range s.steps {
		x := &s.steps[i]
		at = x.line
		b.announce(x.text)
		if err := b.run(st, x); err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		b.say(" ---> %s", st.id())
	}
	b.done[s] = st
	return st, nil
}

// run does one instruction.
func (b *builder) run(s *state, x *instruction) error {
	if err := b.ctx.Err(); err != nil {
		return context.Cause(b.ctx)
	}
	if err := x.check(); err != nil {
		return err
	}
	switch x.name {
	case "RUN":
		return b.runCommand(s, x)
	case "COPY", "ADD":
		return b.copy(s, x)
	case "WORKDIR":
		return b.workdir(s, x)
	}
	return b.configure(s, x)
}
