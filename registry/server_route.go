package registry

import (
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
)

type routeKind int

const (
	routeNone routeKind = iota
	routeBase
	routeBlob
	routeUploads
	routeUpload
	routeManifest
	routeTags
	routeReferrers
)

// A route is a request's path, taken apart and valid.
type route struct {
	kind       routeKind
	repository string
	digest     digest.Digest // of a blob, a manifest or a subject
	name       string        // a manifest's tag, or an upload's UUID
}

// action is what the route's method does, in the words of Authorize.
func (t route) action(method string) string {
	switch {
	case t.kind == routeBase:
		return ""
	case t.kind == routeUpload:
		return ActionPush
	case method == http.MethodGet, method == http.MethodHead:
		return ActionPull
	case method == http.MethodDelete:
		return ActionDelete
	}
	return ActionPush
}

// parseRoute takes a request's decoded path apart. Repository names may hold any of the words that the API uses, so
// it is read from its end.
func parseRoute(path string) (route, error) {
	if path == "/v2/" || path == "/v2" {
		return route{kind: routeBase}, nil
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return route{}, newAnswer(http.StatusNotFound, CodeUnsupported, "the API is below /v2/")
	}
	if name, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		return named(route{kind: routeTags, repository: name})
	}
	if name, ok := strings.CutSuffix(strings.TrimSuffix(rest, "/"), "/blobs/uploads"); ok {
		return named(route{kind: routeUploads, repository: name})
	}
	i := strings.LastIndexByte(rest, '/')
	if i < 0 {
		return route{}, newAnswer(http.StatusNotFound, CodeUnsupported, "no such endpoint")
	}
	head, last := rest[:i], rest[i+1:]
	if name, ok := strings.CutSuffix(head, "/blobs/uploads"); ok {
		if !validUUID(last) {
			return route{}, newAnswer(http.StatusNotFound, CodeBlobUploadUnknown, "not the name of an upload")
		}
		return named(route{kind: routeUpload, repository: name, name: last})
	}
	if name, ok := strings.CutSuffix(head, "/blobs"); ok {
		return digested(route{kind: routeBlob, repository: name}, last)
	}
	if name, ok := strings.CutSuffix(head, "/referrers"); ok {
		return digested(route{kind: routeReferrers, repository: name}, last)
	}
	if name, ok := strings.CutSuffix(head, "/manifests"); ok {
		if strings.Contains(last, ":") {
			return digested(route{kind: routeManifest, repository: name}, last)
		}
		if !validTag(last) {
			return route{}, newAnswer(http.StatusNotFound, CodeManifestUnknown, "neither a tag nor a digest")
		}
		return named(route{kind: routeManifest, repository: name, name: last})
	}
	return route{}, newAnswer(http.StatusNotFound, CodeUnsupported, "no such endpoint")
}

func named(t route) (route, error) {
	if !validRepository(t.repository) {
		return route{}, newAnswer(http.StatusBadRequest, CodeNameInvalid, "invalid repository name")
	}
	return t, nil
}

func digested(t route, s string) (route, error) {
	d, err := parseDigest(s)
	if err != nil {
		return route{}, err
	}
	t.digest = d
	return named(t)
}

// parseDigest accepts the algorithms that go-digest knows, in their exact form: letters, digits and one colon.
func parseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if err := d.Validate(); err != nil {
		return "", newAnswer(http.StatusBadRequest, CodeDigestInvalid, "invalid digest: "+err.Error())
	}
	return d, nil
}

// reference is the manifest's name as a Store takes it.
func (t route) reference() string { return or(t.name, string(t.digest)) }

// link returns the path of a thing in the route's repository.
func (t route) link(kind, name string) string { return "/v2/" + t.repository + "/" + kind + "/" + name }
