package dockerapi

import (
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/volume"

	"github.com/caisson-engine/caisson/engine"
	store "github.com/caisson-engine/caisson/volume"
)

func (s *Server) volumeRoutes() {
	s.handle("GET /volumes", s.listVolumes)
	s.handle("POST /volumes/create", s.createVolume)
	s.handle("POST /volumes/prune", s.pruneVolumes)
	s.handle("GET /volumes/{name}", s.inspectVolume)
	s.handle("DELETE /volumes/{name}", s.removeVolume)
	s.absent("cluster volumes", "PUT /volumes/{name}")
}

// volumeOf translates a volume.
func volumeOf(v *store.Volume) volume.Volume {
	return volume.Volume{
		CreatedAt: v.Created.UTC().Format(time.RFC3339), Driver: "local", Labels: engine.VolumeLabels(v), Name: v.Name,
		Options: engine.DriverOptions(v), Scope: "local", Mountpoint: v.Path,
	}
}

func (s *Server) listVolumes(w http.ResponseWriter, r *http.Request) error {
	f, err := queryOf(r).filters("dangling", "driver", "label", "name")
	if err != nil {
		return err
	}
	dangling, err := f.flag("dangling")
	if err != nil {
		return err
	}
	list, err := s.Engine.Volumes().List()
	answer := &volume.ListResponse{Volumes: []volume.Volume{}}
	if err != nil { // those that cannot be read are left out
		answer.Warnings = append(answer.Warnings, err.Error())
	}
	for i := range list {
		v := volumeOf(&list[i])
		if !f.volume(&v) {
			continue
		}
		if dangling != nil {
			user, err := s.Engine.VolumeUser(v.Name)
			if err != nil {
				return err
			}
			if *dangling != (user == "") {
				continue
			}
		}
		answer.Volumes = append(answer.Volumes, v)
	}
	return writeJSON(w, http.StatusOK, answer)
}

// volume says whether a volume has what the filters by name, driver and labels ask for.
func (f filters) volume(v *volume.Volume) bool {
	return f.allows("name", func(part string) bool { return strings.Contains(v.Name, part) }) &&
		f.allows("driver", func(d string) bool { return d == v.Driver }) && f.labels(v.Labels)
}

// flag reads a filter that is true or false; nil is that it is not there.
func (f filters) flag(key string) (*bool, error) {
	values := f[key]
	if len(values) == 0 {
		return nil, nil
	}
	is, err := strconv.ParseBool(values[0])
	if err != nil || len(values) > 1 {
		return nil, badRequest("invalid filter '%s=%s'", key, strings.Join(values, ","))
	}
	return &is, nil
}

func (s *Server) createVolume(w http.ResponseWriter, r *http.Request) error {
	q := &volume.CreateRequest{}
	if err := s.readJSON(w, r, q, true); err != nil {
		return err
	}
	o, err := volumeOptionsOf(q)
	if err != nil {
		return err
	}
	name, err := s.Engine.CreateVolume(q.Name, o)
	if err != nil {
		return err
	}
	v, err := s.Engine.Volumes().Get(name)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, volumeOf(&v))
}

// volumeOptionsOf translates a request for a volume.
func volumeOptionsOf(q *volume.CreateRequest) (*store.CreateOptions, error) {
	if q.ClusterVolumeSpec != nil {
		return nil, notImplemented("ClusterVolumeSpec")
	}
	var options []string
	for name, value := range q.DriverOpts {
		options = append(options, name+"="+value)
	}
	o, err := engine.VolumeOptions(q.Driver, nil, options)
	if err != nil {
		return nil, err
	}
	if len(q.Labels) > 0 {
		o.Labels = q.Labels
	}
	return o, nil
}

func (s *Server) inspectVolume(w http.ResponseWriter, r *http.Request) error {
	v, err := s.Engine.Volumes().Get(r.PathValue("name"))
	if err != nil {
		return volumeError(r.PathValue("name"), err)
	}
	return writeJSON(w, http.StatusOK, volumeOf(&v))
}

// volumeError says of a volume that is not there what Docker says: a name that none can have is one that is not there.
func volumeError(name string, err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrName) {
		return failure(http.StatusNotFound, "get %s: no such volume", name)
	}
	return err
}

func (s *Server) removeVolume(w http.ResponseWriter, r *http.Request) error {
	err := s.Engine.RemoveVolume(r.Context(), r.PathValue("name"))
	if err != nil && !(queryOf(r).bool("force") && errors.Is(err, fs.ErrNotExist)) {
		return volumeError(r.PathValue("name"), err)
	}
	return noContent(w)
}

// pruneVolumes removes volumes that no container names: anonymous ones, or with the filter all, and for clients before version 1.42, all.
func (s *Server) pruneVolumes(w http.ResponseWriter, r *http.Request) error {
	f, err := queryOf(r).filters("all", "label", "label!")
	if err != nil {
		return err
	}
	all, err := f.flag("all")
	if err != nil {
		return err
	}
	var wrong error
	sizes := make(map[string]int64)
	o := &store.PruneOptions{All: all != nil && *all || versionOf(r) < mustVersion("1.42"), Keep: func(v store.Volume) bool {
		if !f.labels(volumeOf(&v).Labels) {
			return true
		}
		size, err := s.Engine.VolumeSize(r.Context(), v.Name)
		sizes[v.Name], wrong = size, errors.Join(wrong, err)
		return false
	}}
	removed, err := s.Engine.PruneVolumes(r.Context(), o)
	if err := errors.Join(wrong, err); err != nil {
		return err
	}
	report := &volume.PruneReport{VolumesDeleted: []string{}}
	for _, v := range removed {
		report.VolumesDeleted = append(report.VolumesDeleted, v.Name)
		report.SpaceReclaimed += uint64(sizes[v.Name])
	}
	return writeJSON(w, http.StatusOK, report)
}
