package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of Docker's image manifests, version 2, schema 2.
const (
	MediaTypeDockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig       = "application/vnd.docker.container.image.v1+json"
	MediaTypeDockerLayer        = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	MediaTypeDockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

const dockerSchema1Prefix = "application/vnd.docker.distribution.manifest.v1+"

// acceptManifests is what a client can read.
var acceptManifests = strings.Join([]string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, MediaTypeDockerManifestList, MediaTypeDockerManifest,
}, ", ")

// IsIndex says whether a media type is that of an OCI index or a Docker manifest list.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == MediaTypeDockerManifestList
}

// IsManifest says whether a media type is that of an OCI or Docker image manifest.
func IsManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == MediaTypeDockerManifest
}

// mediaTypeOf decides what a manifest is from the type that it came with, which may be empty or general, and its
// bytes. It refuses what two readers could take for two different things (CVE-2021-41190): a type that contradicts
// the document's own, an image manifest with "manifests", an index with "layers" or "config", and such keys twice or
// in another case.
func mediaTypeOf(contentType string, content []byte) (string, error) {
	keys, err := topLevel(content)
	if err != nil {
		return "", err
	}
	said, _, _ := mime.ParseMediaType(contentType)
	if strings.HasPrefix(said, dockerSchema1Prefix) {
		return "", errors.New("manifest is of Docker's schema 1, which is obsolete: push it again with a newer tool")
	}
	own := ""
	if raw, ok := keys["mediaType"]; ok {
		if err := json.Unmarshal(raw, &own); err != nil {
			return "", errors.New("manifest: mediaType is not a string")
		}
	}
	mediaType := said
	if said == "" || said == "application/json" || said == "text/plain" || said == "application/octet-stream" {
		mediaType = own
	}
	switch {
	case !IsIndex(mediaType) && !IsManifest(mediaType):
		return "", fmt.Errorf("media type %q is not that of an image manifest or index",
			printable(or(mediaType, contentType)))
	case own != "" && own != mediaType:
		return "", fmt.Errorf("manifest is ambiguous: it came as %s and calls itself %s", mediaType, printable(own))
	}
	_, manifests := keys["manifests"]
	_, layers := keys["layers"]
	_, config := keys["config"]
	_, fsLayers := keys["fsLayers"]
	if IsIndex(mediaType) && (layers || config || fsLayers) || IsManifest(mediaType) && (manifests || fsLayers) {
		return "", fmt.Errorf("manifest is ambiguous: a %s with the parts of another type", mediaType)
	}
	return mediaType, nil
}

// decisiveKeys are the names that decide what a manifest is.
var decisiveKeys = []string{"mediaType", "manifests", "layers", "config", "fsLayers", "subject", "schemaVersion"}

// topLevel returns the members of a JSON object. The names that decide what a manifest is may occur only once, and only
// in their own case, for encoding/json takes the last of several and does not mind the case, and other readers differ.
func topLevel(content []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(content) {
		return nil, errors.New("manifest is not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(content))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("manifest is not a JSON object")
	}
	keys := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		name, _ := t.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		for _, known := range decisiveKeys {
			if _, twice := keys[known]; strings.EqualFold(name, known) && (twice || name != known) {
				return nil, fmt.Errorf("manifest is ambiguous: %q occurs twice or in another case", known)
			}
		}
		keys[name] = value
	}
	return keys, nil
}

// mediaTypeOnly leaves a Content-Type's parameters out.
func mediaTypeOnly(contentType string) string {
	s, _, _ := mime.ParseMediaType(contentType)
	return s
}
