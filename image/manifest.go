package image

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// Media types of what Docker's manifests were before version 2, schema 2.
const (
	dockerSchema1 = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSigned1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Bounds of what a registry or another program may hand us.
const (
	maxManifest  = 4 << 20  // bytes of a manifest or an index; registries take no more either
	maxConfig    = 8 << 20  // bytes of a configuration
	maxIndexJSON = 32 << 20 // bytes of the store's index.json
	maxLayers    = 500      // layers of an image; the kernel's overlay takes no more
	maxNesting   = 4        // an index in an index in an index…
	maxVisits    = 32       // manifests looked at in search of the right one
)

// invalid is fmt.Errorf for errors that are ErrInvalid too.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// checkDescriptor refuses a descriptor whose digest could not name a file, or whose size is none.
func checkDescriptor(d ocispec.Descriptor) error {
	if err := validateDigest(d.Digest); err != nil {
		return invalid("digest %.80q: %v", string(d.Digest), err)
	}
	if d.Size < 0 {
		return invalid("size %d of %s", d.Size, d.Digest)
	}
	return nil
}

// validateDigest is digest.Digest.Validate, which takes a regular expression for what is nearly always the same.
func validateDigest(d digest.Digest) error {
	if digits, ok := strings.CutPrefix(string(d), "sha256:"); ok && len(digits) == 64 {
		if isHex(digits) {
			return nil
		}
	}
	return d.Validate()
}

// A kind is a manifest, with what none has.
type kind struct {
	ocispec.Manifest
	Manifests json.RawMessage `json:"manifests"`
	FSLayers  json.RawMessage `json:"fsLayers"`
}

// checkKind refuses an index that is something other than it is said to be: one that could be read both as a manifest
// and as an index, or whose own media type differs from that of its descriptor.
func checkKind(b []byte, mediaType string) error {
	var k struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(b, &k); err != nil {
		return invalid("%s: %v", mediaType, err)
	}
	if err := checkVersion(mediaType, k.MediaType, k.SchemaVersion, k.FSLayers); err != nil {
		return err
	}
	if k.Config != nil || k.Layers != nil {
		return invalid("an index that has layers or a configuration")
	}
	return nil
}

func checkVersion(mediaType, inside string, version int, fsLayers json.RawMessage) error {
	switch {
	case version == 1 || fsLayers != nil || mediaType == dockerSchema1 || mediaType == dockerSigned1:
		return fmt.Errorf("%w: a Docker schema 1 manifest, which is no longer in use", ErrNotImage)
	case version != 2:
		return invalid("%s: schema version %d", mediaType, version)
	case inside != "" && inside != mediaType:
		return invalid("media type %.100q inside, %s outside", inside, mediaType)
	}
	return nil
}

// parseIndex reads an OCI index or a Docker manifest list.
func parseIndex(b []byte, mediaType string) (*ocispec.Index, error) {
	if !registry.IsIndex(mediaType) {
		return nil, fmt.Errorf("%w: media type %.100q is no index", ErrNotImage, mediaType)
	}
	if err := checkKind(b, mediaType); err != nil {
		return nil, err
	}
	var x ocispec.Index
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, invalid("index: %v", err)
	}
	for _, d := range x.Manifests {
		if err := checkDescriptor(d); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
	}
	return &x, nil
}

// parseAnyManifest reads an OCI or Docker manifest, of an image or an artifact.
func parseAnyManifest(b []byte, mediaType string) (*ocispec.Manifest, error) {
	if !registry.IsManifest(mediaType) && mediaType != dockerSchema1 && mediaType != dockerSigned1 {
		return nil, fmt.Errorf("%w: media type %.100q", ErrNotImage, mediaType)
	}
	var k kind // read once: a list of images reads many
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, invalid("manifest: %v", err)
	}
	if err := checkVersion(mediaType, k.MediaType, k.SchemaVersion, k.FSLayers); err != nil {
		return nil, err
	}
	if k.Manifests != nil {
		return nil, invalid("a manifest that has manifests")
	}
	m := k.Manifest
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if err := checkDescriptor(d); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
	return &m, nil
}

// parseManifest reads the manifest of an image and refuses any other: an artifact, layers to be fetched from elsewhere,
// encrypted ones.
func parseManifest(b []byte, mediaType string) (*ocispec.Manifest, error) {
	m, err := parseAnyManifest(b, mediaType)
	if err != nil {
		return nil, err
	}
	switch m.Config.MediaType {
	case ocispec.MediaTypeImageConfig, registry.MediaTypeDockerConfig:
	default:
		kind := m.ArtifactType
		if kind == "" {
			kind = m.Config.MediaType
		}
		return nil, fmt.Errorf("%w: an artifact of type %.100q", ErrNotImage, kind)
	}
	if m.Config.Size > maxConfig {
		return nil, invalid("configuration of %d bytes; at most %d are read", m.Config.Size, maxConfig)
	}
	if len(m.Layers) > maxLayers {
		return nil, invalid("%d layers; at most %d can be mounted", len(m.Layers), maxLayers)
	}
	for _, l := range m.Layers {
		if err := checkLayer(l); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// checkLayer refuses a layer that cannot be had or read.
func checkLayer(l ocispec.Descriptor) error {
	switch l.MediaType {
	case ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd,
		"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.docker.image.rootfs.diff.tar+zstd":
	default:
		if strings.Contains(l.MediaType, ".foreign.") || strings.Contains(l.MediaType, ".nondistributable.") {
			return fmt.Errorf("%w: layer %s is a foreign layer, which registries do not carry", ErrNotImage, l.Digest)
		}
		if strings.HasSuffix(l.MediaType, "+encrypted") {
			return fmt.Errorf("%w: layer %s is encrypted", ErrNotImage, l.Digest)
		}
		return fmt.Errorf("%w: layer %s has media type %.100q", ErrNotImage, l.Digest, l.MediaType)
	}
	if len(l.URLs) > 0 {
		return fmt.Errorf("%w: layer %s is to be fetched from another place, which is not done", ErrNotImage, l.Digest)
	}
	if l.Size == 0 {
		return invalid("layer %s of size 0", l.Digest)
	}
	return nil
}

// parseConfig reads the configuration of an image with that many layers.
func parseConfig(b []byte, layers int) (*ocispec.Image, error) {
	var c ocispec.Image
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, invalid("configuration: %v", err)
	}
	if c.RootFS.Type != "layers" {
		return nil, fmt.Errorf("%w: configuration with root file system of type %.40q", ErrNotImage, c.RootFS.Type)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return nil, invalid("manifest has %d layers, configuration %d diff IDs", layers, len(c.RootFS.DiffIDs))
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := validateDigest(d); err != nil {
			return nil, invalid("diff ID %.80q: %v", string(d), err)
		}
	}
	if c.OS != "" && !strings.EqualFold(c.OS, "linux") {
		return nil, fmt.Errorf("%w: an image for %.40s; only linux is run here", ErrNotImage, c.OS)
	}
	return &c, nil
}

// fitsDigest refuses bytes that are not those of the descriptor.
func fitsDigest(d ocispec.Descriptor, b []byte) error {
	if int64(len(b)) != d.Size {
		return invalid("%s has %d bytes, its descriptor says %d", d.Digest, len(b), d.Size)
	}
	if got := d.Digest.Algorithm().FromBytes(b); got != d.Digest {
		return invalid("digest is %s, not %s", got, d.Digest)
	}
	return nil
}

// short is the form in which people see digests: the first 12 hexadecimal digits.
func short(d digest.Digest) string {
	e := d.Encoded()
	return e[:min(12, len(e))]
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
