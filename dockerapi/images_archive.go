package dockerapi

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/common"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/jsonstream"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func (s *Server) saveImage(w http.ResponseWriter, r *http.Request, name string) error {
	return s.save(w, r, []string{name})
}

func (s *Server) saveImages(w http.ResponseWriter, r *http.Request) error {
	return s.save(w, r, queryOf(r).Values["names"])
}

// save sends images as an archive.
func (s *Server) save(w http.ResponseWriter, r *http.Request, names []string) error {
	if len(names) == 0 || slices.Contains(names, "") {
		return badRequest("names: no image is named")
	}
	platform, err := queryOf(r).platform(r, "1.48")
	if err != nil {
		return err
	}
	for _, n := range names { // before the answer has begun
		if _, err := s.Engine.ImageFor(r.Context(), n, platform); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/x-tar")
	return s.Engine.Save(r.Context(), w, names, &image.SaveOptions{Platform: platform})
}

// loadImages brings in the images of an archive.
func (s *Server) loadImages(w http.ResponseWriter, r *http.Request) error {
	platform, err := queryOf(r).platform(r, "1.48")
	if err != nil {
		return err
	}
	list, err := s.Engine.Load(r.Context(), r.Body, &image.LoadOptions{Platform: platform})
	m := &messages{w: w}
	for _, l := range list {
		text := "Loaded image ID: " + l.ID.String()
		if l.Name != "" {
			text = "Loaded image: " + registry.Familiar(l.Name)
		}
		m.send(&jsonstream.Message{Stream: text + "\n"})
	}
	return m.end(err)
}

// importImage makes an image of a root file system: the body, or what is at an address.
func (s *Server) importImage(w http.ResponseWriter, r *http.Request) (err error) {
	q := queryOf(r)
	src := q.Get("fromSrc")
	o := &image.CommitOptions{Comment: q.Get("message"), Changes: q.Values["changes"]}
	if versionOf(r) >= mustVersion("1.32") {
		o.Platform = q.Get("platform")
	}
	if o.Name, err = q.repoTag(); err != nil {
		return err
	}
	if o.Comment == "" {
		o.Comment = "Imported from " + src
	}
	m := &messages{w: w}
	body := io.Reader(r.Body)
	switch src {
	case "-":
	case "":
		return badRequest("neither fromImage nor fromSrc is given")
	default:
		remote, err := s.download(r, src)
		if err != nil {
			return err
		}
		defer remote.Close()
		m.status("Downloading from " + src)
		body = remote
	}
	img, err := s.Engine.ImportTar(r.Context(), body, o)
	if err != nil {
		return m.end(err)
	}
	m.status(img.ID.String())
	return m.end(nil)
}

// download opens what is at an address.
func (s *Server) download(r *http.Request, address string) (io.ReadCloser, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, badRequest("fromSrc: %q is no address of http or https", address)
	}
	q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport}).Do(q)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, badRequest("fromSrc: %s: %s", address, answer.Status)
	}
	return answer.Body, nil
}

// commit makes an image of a container.
func (s *Server) commit(w http.ResponseWriter, r *http.Request) error {
	var cfg *container.Config
	if err := s.readJSON(w, r, &cfg, true); err != nil {
		return err
	}
	q := queryOf(r)
	o := &engine.CommitOptions{Author: q.Get("author"), Comment: q.Get("comment"), Changes: q.Values["changes"]}
	o.NoPause = q.Has("pause") && !q.bool("pause")
	var err error
	if o.Name, err = q.repoTag(); err != nil {
		return err
	}
	if err = addEdit(o, cfg); err != nil {
		return err
	}
	if q.Get("container") == "" {
		return badRequest("container is not given")
	}
	img, err := s.Engine.Commit(r.Context(), q.Get("container"), o)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, &common.IDResponse{ID: img.ID.String()})
}

// addEdit adds what puts a configuration into an image's: what it sets takes the place, variables, labels, ports and volumes are added.
// What says nothing of an image is left out: Image, Hostname and Domainname, and how the container's streams are.
func addEdit(o *engine.CommitOptions, c *container.Config) error {
	if c == nil {
		return nil
	}
	if err := refuse("Config", map[string]bool{
		"ArgsEscaped": c.ArgsEscaped, "NetworkDisabled": c.NetworkDisabled, "OnBuild": len(c.OnBuild) > 0,
		"StopTimeout": c.StopTimeout != nil, "Shell": len(c.Shell) > 0,
	}); err != nil {
		return err
	}
	o.Healthcheck = (*image.Healthcheck)(c.Healthcheck)
	o.Edit = func(i *ocispec.ImageConfig) {
		for into, value := range map[*string]string{&i.User: c.User, &i.WorkingDir: c.WorkingDir, &i.StopSignal: c.StopSignal} {
			if value != "" {
				*into = value
			}
		}
		if len(c.Entrypoint) > 0 {
			i.Entrypoint, i.Cmd = c.Entrypoint, c.Cmd
		} else if len(c.Cmd) > 0 {
			i.Cmd = c.Cmd
		}
		for _, v := range c.Env {
			name, _, _ := strings.Cut(v, "=")
			i.Env = append(slices.DeleteFunc(i.Env, func(have string) bool { return strings.HasPrefix(have, name+"=") }), v)
		}
		i.Labels = added(i.Labels, c.Labels)
		i.Volumes = added(i.Volumes, c.Volumes)
		ports := make(map[string]struct{})
		for p := range c.ExposedPorts {
			ports[p.String()] = struct{}{}
		}
		i.ExposedPorts = added(i.ExposedPorts, ports)
	}
	return nil
}

// added is one map with the entries of another.
func added[V any](to, from map[string]V) map[string]V {
	if len(from) == 0 {
		return to
	}
	all := maps.Clone(to)
	if all == nil {
		all = make(map[string]V)
	}
	maps.Copy(all, from)
	return all
}
