package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	maxReferrerPages = 1000
	maxReferrers     = 1 << 16
	maxReferrersSize = 32 << 20 // bytes of all pages
)

// Referrers lists the manifests whose subject is the manifest of ref's digest, which must be set: signatures, bills of
// materials and other artifacts, with their artifact types and annotations. artifactType chooses among them; "" means
// all. Of registries without this part of the protocol (before distribution 1.1) the tag that stands in for it is read.
// None is no error.
func (c *Client) Referrers(ctx context.Context, ref Reference, artifactType string) (list []ocispec.Descriptor, err error) {
	if ref.Digest == "" {
		return nil, fmt.Errorf("%w: referrers of %s: no digest", ErrInvalidReference, ref.Familiar())
	}
	ref.Tag = ""
	err = c.each(ctx, ref, func(e *endpoint) (err error) {
		list, err = c.referrers(ctx, e, ref, artifactType)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		list, err = c.referrersByTag(ctx, ref)
	}
	if err != nil {
		return nil, err
	}
	if artifactType != "" { // registries may leave the choice to us
		list = slices.DeleteFunc(list, func(d ocispec.Descriptor) bool { return d.ArtifactType != artifactType })
	}
	return list, nil
}

func (c *Client) referrers(ctx context.Context, e *endpoint, ref Reference, artifactType string) ([]ocispec.Descriptor, error) {
	q := &request{
		method: http.MethodGet, path: ref.Repository + "/referrers/" + string(ref.Digest), query: url.Values{},
		subject: "referrers of " + ref.Familiar(), scopes: []string{pullScope(ref.Repository)},
	}
	if artifactType != "" {
		q.query.Set("artifactType", artifactType)
	}
	var all []ocispec.Descriptor
	seen, size := map[string]bool{}, 0
	for range maxReferrerPages {
		resp, err := c.do(ctx, e, q)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, c.answerError(ctx, e, q, resp)
		}
		page, err := c.readCapped(resp, c.maxManifestSize())
		if err != nil {
			return nil, describe(e, q, fmt.Errorf("list of referrers: %w", err))
		}
		if size += len(page); size > maxReferrersSize {
			return nil, describe(e, q, refuse("the list of referrers is longer than %d bytes", maxReferrersSize))
		}
		list, err := readReferrers(page)
		if err != nil {
			return nil, describe(e, q, err)
		}
		if all = append(all, list...); len(all) > maxReferrers {
			return nil, describe(e, q, refuse("the list of referrers is longer than %d", maxReferrers))
		}
		next, err := nextLink(resp.Header, resp.Request.URL)
		if err != nil {
			return nil, describe(e, q, refuse("list of referrers: %w", err))
		}
		if next == nil {
			return all, nil
		}
		if seen[next.String()] {
			return nil, describe(e, q, refuse("the list of referrers goes in a circle"))
		}
		seen[next.String()] = true
		q.address = next
	}
	return nil, describe(e, q, refuse("the list of referrers has more than %d pages", maxReferrerPages))
}

// readReferrers reads a page, an OCI index, and refuses descriptors that could not name a manifest.
func readReferrers(page []byte) ([]ocispec.Descriptor, error) {
	var x ocispec.Index
	if err := json.Unmarshal(page, &x); err != nil {
		return nil, refuse("the list of referrers is not JSON")
	}
	for _, d := range x.Manifests {
		if d.Digest.Validate() != nil || d.Size < 0 {
			return nil, refuse("the list of referrers holds the digest %q, which is none", printable(string(d.Digest)))
		}
	}
	return x.Manifests, nil
}

// referrersByTag reads the index that clients keep under a tag where the registry does not list referrers: sha256-<hex>.
func (c *Client) referrersByTag(ctx context.Context, ref Reference) ([]ocispec.Descriptor, error) {
	tag := ref
	tag.Tag, tag.Digest = strings.Replace(string(ref.Digest), ":", "-", 1), ""
	desc, b, err := c.Manifest(ctx, tag)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case desc.MediaType != ocispec.MediaTypeImageIndex:
		return nil, refuse("the tag %s, which should list referrers, is of type %s", tag.Tag, printable(desc.MediaType))
	}
	return readReferrers(b)
}
