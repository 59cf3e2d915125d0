package dockerapi

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/storage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/engine"
	store "github.com/caisson-engine/caisson/image"
)

// images translates filters of images.
func (f filters) images() (*store.Filter, error) {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(f)) {
		for _, value := range f[key] {
			list = append(list, key+"="+value)
		}
	}
	return store.ParseFilter(list)
}

// An imageSummary is an image of a list, with what clients before version 1.44 read.
type imageSummary struct {
	image.Summary
	VirtualSize int64 `json:"VirtualSize,omitempty"`
}

// listImages lists images. Without a name are only those that lost theirs: all has nothing to add.
func (s *Server) listImages(w http.ResponseWriter, r *http.Request) error {
	q, v := queryOf(r), versionOf(r)
	f, err := q.filters("dangling", "label", "label!", "before", "since", "reference", "until")
	if err != nil {
		return err
	}
	if pattern := q.Get("filter"); pattern != "" && v < mustVersion("1.41") {
		if f == nil {
			f = make(filters)
		}
		f["reference"] = append(f["reference"], pattern)
	}
	filter, err := f.images()
	if err != nil {
		return err
	}
	list, err := s.Engine.SearchImages(r.Context(), filter)
	if err != nil {
		return err
	}
	var shared map[string]int64
	if q.bool("shared-size") && v >= mustVersion("1.42") {
		if shared, err = s.sharedSizes(r.Context()); err != nil {
			return err
		}
	}
	var manifests map[string][]image.ManifestSummary
	if q.bool("manifests") && v >= mustVersion("1.47") {
		if manifests, err = s.manifests(r.Context()); err != nil {
			return err
		}
	}
	answer := []imageSummary{}
	for _, i := range list {
		sum := summaryOf(i)
		if size, ok := shared[i.Digest.String()]; ok {
			sum.SharedSize = size
		}
		sum.Manifests = manifests[i.Digest.String()]
		if v < mustVersion("1.48") {
			sum.Descriptor = nil
		}
		if v < mustVersion("1.43") && len(sum.RepoTags) == 0 && len(sum.RepoDigests) == 0 {
			sum.RepoTags, sum.RepoDigests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
		}
		if v < mustVersion("1.44") {
			sum.VirtualSize = sum.Size
		}
		answer = append(answer, sum)
	}
	return writeJSON(w, http.StatusOK, answer)
}

// summaryOf translates an image of a list.
func summaryOf(i *store.Summary) imageSummary {
	d := i.Descriptor()
	sum := image.Summary{
		Containers: -1, SharedSize: -1, ID: i.ID.String(), Size: i.Size, Labels: i.Labels, Descriptor: &d,
	}
	sum.RepoTags, sum.RepoDigests = namesOf(i.Names, i.Digest)
	if !i.Created.IsZero() {
		sum.Created = i.Created.Unix()
	}
	if sum.Labels == nil {
		sum.Labels = map[string]string{}
	}
	return imageSummary{Summary: sum}
}

// sharedSizes are what of each image, by its digest, others need, too.
func (s *Server) sharedSizes(ctx context.Context) (map[string]int64, error) {
	u, err := s.Engine.DiskUsage(ctx)
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64)
	for _, i := range u.ByImage {
		sizes[i.Digest.String()] = i.Shared
	}
	return sizes, nil
}

// manifests are those of each image, by its digest, that are there.
func (s *Server) manifests(ctx context.Context) (map[string][]image.ManifestSummary, error) {
	list, err := s.Engine.SearchImages(ctx, &store.Filter{AllPlatforms: true})
	if err != nil {
		return nil, err
	}
	containers, err := s.Engine.List(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string][]image.ManifestSummary)
	for _, i := range list {
		m, err := s.manifest(i, containers)
		if err != nil {
			return nil, err
		}
		all[i.Digest.String()] = append(all[i.Digest.String()], *m)
	}
	return all, nil
}

func (s *Server) manifest(i *store.Summary, containers []*engine.Container) (*image.ManifestSummary, error) {
	d := i.ManifestDescriptor()
	m := &image.ManifestSummary{ID: d.Digest.String(), Descriptor: d, Available: true, Kind: image.ManifestKindImage}
	content, err := s.Engine.ContentSize(i)
	if err != nil {
		return nil, err
	}
	m.Size.Content, m.Size.Total = content, content+i.Size
	m.ImageData = &image.ImageProperties{Platform: *d.Platform, Containers: []string{}}
	m.ImageData.Size.Unpacked = i.Size
	for _, c := range containers {
		if c.ImageID == i.ID {
			m.ImageData.Containers = append(m.ImageData.Containers, c.ID)
		}
	}
	return m, nil
}

// An imageInspect is an image, with what clients of older versions read. Config is as the image has it. ContainerConfig went with version
// 1.45, but docker-compose 1 looks there for volumes, whatever the version that it asks for.
type imageInspect struct {
	image.InspectResponse
	Config          json.RawMessage
	ContainerConfig json.RawMessage
	Parent          string
	VirtualSize     int64 `json:",omitempty"`
}

// inspectImage says what an image is.
func (s *Server) inspectImage(w http.ResponseWriter, r *http.Request, name string) error {
	q, v := queryOf(r), versionOf(r)
	platform, err := q.platform(r, "1.49")
	if err != nil {
		return err
	}
	manifests := q.bool("manifests") && v >= mustVersion("1.48")
	if manifests && platform != "" {
		return badRequest("conflicting options: manifests and platform options cannot both be set")
	}
	img, err := s.Engine.ImageFor(r.Context(), name, platform)
	if err != nil {
		return err
	}
	i, err := inspectOf(img)
	if err != nil {
		return err
	}
	if manifests {
		all, err := s.manifests(r.Context())
		if err != nil {
			return err
		}
		i.Manifests = all[img.Digest.String()]
	}
	if v < mustVersion("1.44") {
		i.VirtualSize = i.Size
		i.Created = cmp.Or(i.Created, time.Time{}.Format(time.RFC3339Nano))
	}
	if v < mustVersion("1.48") {
		i.Descriptor = nil
	}
	return writeJSON(w, http.StatusOK, i)
}

// inspectOf translates an image.
func inspectOf(img *store.Image) (*imageInspect, error) {
	d := img.Descriptor()
	i := &imageInspect{InspectResponse: image.InspectResponse{
		ID: img.ID.String(), Author: img.Config.Author, Architecture: img.Config.Architecture, Variant: img.Config.Variant,
		Os: img.Config.OS, OsVersion: img.Config.OSVersion, Size: img.Size, Descriptor: &d, RootFS: image.RootFS{Type: img.Config.RootFS.Type},
	}}
	i.RepoTags, i.RepoDigests = namesOf(img.Names, img.Digest)
	if !img.Created.IsZero() {
		i.Created = img.Created.Format(time.RFC3339Nano)
	}
	if h := img.History(); len(h) > 0 {
		i.Comment = h[0].Comment
	}
	var raw struct {
		Config json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(img.ConfigJSON, &raw); err != nil {
		return nil, err
	}
	if i.Config = raw.Config; len(i.Config) == 0 || string(i.Config) == "null" {
		i.Config = json.RawMessage("{}")
	}
	i.ContainerConfig = i.Config
	for _, l := range img.Config.RootFS.DiffIDs {
		i.RootFS.Layers = append(i.RootFS.Layers, l.String())
	}
	var dirs []string
	for _, l := range slices.Backward(img.Layers) {
		dirs = append(dirs, cmp.Or(l.Dir, l.Image))
	}
	i.GraphDriver = &storage.DriverData{Name: "overlay", Data: map[string]string{}}
	if len(dirs) > 0 {
		i.GraphDriver.Data["LowerDir"] = strings.Join(dirs, ":")
	}
	return i, nil
}

// platform reads the parameter of that name, which is there since a version: JSON, or in some clients "os/architecture/variant".
func (q query) platform(r *http.Request, since string) (string, error) {
	all := q.Values["platform"]
	if versionOf(r) < mustVersion(since) || len(all) == 0 || all[0] == "" {
		return "", nil
	}
	if len(all) > 1 {
		return "", badRequest("multiple platform parameters not supported")
	}
	if !strings.HasPrefix(all[0], "{") {
		return all[0], nil
	}
	var p ocispec.Platform
	if err := json.Unmarshal([]byte(all[0]), &p); err != nil {
		return "", badRequest("invalid platform: %w", err)
	}
	if p.OSVersion != "" || len(p.OSFeatures) > 0 {
		return "", notImplemented("platform: os.version, os.features")
	}
	if p.OS == "" || p.Architecture == "" {
		return "", badRequest("invalid platform: both OS and architecture must be provided")
	}
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/"), nil
}
