package image

import (
	"context"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/registry"
)

// A Filter chooses images. The zero value chooses all; an image must satisfy every field that is set.
type Filter struct {
	// Dangling chooses those without a name, or when it points to false those with one.
	Dangling *bool

	// Labels are labels that the image must have, all of them: "name" or "name=value". NoLabels are such that it must not
	// have any of.
	Labels, NoLabels []string

	// References are patterns, as path.Match takes them, for names as Docker shows them, with or without tag. One must
	// match. The image is returned with the names that do.
	References []string

	// Before and Since are references, as for Store.Get, of images that those to be chosen are older or younger than.
	Before, Since string

	// Until chooses images made before a time. The zero time is none.
	Until time.Time

	// AllPlatforms has of a multi-platform image each platform that is in the store returned, one after the other, and not only the
	// one that suits this program's best.
	AllPlatforms bool

	// BuildSteps has the images that are nothing but steps of builds returned, too.
	BuildSteps bool
}

// ParseFilter reads filters as docker images and docker image prune take them, "name=value": dangling, label, label!,
// before, since, reference, until (a time as RFC 3339 has it, seconds since 1970, or a duration before now such as
// "24h"). Those of another name are ErrInvalid.
func ParseFilter(list []string) (*Filter, error) {
	f := &Filter{}
	for _, s := range list {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, invalid("filter %.100q is not name=value", s)
		}
		if err := f.set(key, value); err != nil {
			return nil, fmt.Errorf("filter %.100q: %w", s, err)
		}
	}
	return f, nil
}

func (f *Filter) set(key, value string) (err error) {
	switch strings.TrimSpace(key) {
	case "dangling":
		is, err := strconv.ParseBool(value)
		if err != nil {
			return invalid("neither true nor false")
		}
		f.Dangling = &is
	case "label":
		f.Labels = append(f.Labels, value)
	case "label!":
		f.NoLabels = append(f.NoLabels, value)
	case "before":
		f.Before = value
	case "since":
		f.Since = value
	case "reference":
		if _, err := path.Match(value, ""); err != nil {
			return invalid("%v", err)
		}
		f.References = append(f.References, value)
	case "until":
		f.Until, err = parseUntil(value)
	default:
		err = invalid("there is no such filter")
	}
	return err
}

func parseUntil(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	if sec, err := strconv.ParseFloat(s, 64); err == nil && sec > -1e11 && sec < 1e11 {
		whole, part := math.Modf(sec)
		return time.Unix(int64(whole), int64(part*1e9)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, invalid("neither a time nor a duration")
}

// A matcher is a filter whose references are looked up.
type matcher struct {
	*Filter
	before, since *Image
}

func (s *Store) matcher(ctx context.Context, f *Filter) (m *matcher, err error) {
	m = &matcher{Filter: f}
	look := func(ref string) *Image {
		if ref == "" || err != nil {
			return nil
		}
		var img *Image
		img, err = s.Lookup(ctx, ref, nil)
		return img
	}
	m.before, m.since = look(f.Before), look(f.Since)
	return m, err
}

func (m *matcher) match(i *Summary) bool {
	switch {
	case m.Dangling != nil && *m.Dangling != (len(i.Names) == 0):
		return false
	case m.before != nil && (i.ID == m.before.ID || !i.Created.Before(m.before.Created)):
		return false
	case m.since != nil && (i.ID == m.since.ID || !i.Created.After(m.since.Created)):
		return false
	case !m.Until.IsZero() && !i.Created.Before(m.Until):
		return false
	}
	has := func(label string) bool {
		name, want, valued := strings.Cut(label, "=")
		value, ok := i.Labels[name]
		return ok && (!valued || value == want)
	}
	if slices.ContainsFunc(m.Labels, func(l string) bool { return !has(l) }) || slices.ContainsFunc(m.NoLabels, has) {
		return false
	}
	if len(m.References) == 0 {
		return true
	}
	i.Names = slices.DeleteFunc(slices.Clone(i.Names), func(n string) bool { return !m.named(n) })
	return len(i.Names) > 0
}

// named says whether a name matches one of the patterns.
func (m *matcher) named(name string) bool {
	r, err := registry.ParseReference(name)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(m.References, func(pattern string) bool {
		for _, s := range []string{r.Familiar(), r.FamiliarName(), r.String(), r.Name()} {
			if ok, _ := path.Match(pattern, s); ok {
				return true
			}
		}
		return false
	})
}

// LayerDigests returns the digests of the layers as a registry has them, compressed, the lowest first.
func (i *Image) LayerDigests() []digest.Digest {
	list := make([]digest.Digest, len(i.blobs))
	for n, b := range i.blobs {
		list[n] = b.Digest
	}
	return list
}
