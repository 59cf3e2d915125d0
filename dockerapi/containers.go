package dockerapi

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/namespace"
)

func (s *Server) containerRoutes() {
	s.handle("GET /containers/json", s.listContainers)
	s.handle("POST /containers/create", s.createContainer)
	s.handle("POST /containers/prune", s.pruneContainers)
	s.handle("GET /containers/{name}/json", s.inspectContainer)
	s.handle("POST /containers/{name}/start", s.startContainer)
	s.handle("POST /containers/{name}/stop", s.stopContainer)
	s.handle("POST /containers/{name}/restart", s.restartContainer)
	s.handle("POST /containers/{name}/kill", s.killContainer)
	s.handle("POST /containers/{name}/pause", s.simply((*engine.Engine).Pause))
	s.handle("POST /containers/{name}/unpause", s.simply((*engine.Engine).Unpause))
	s.handle("POST /containers/{name}/rename", s.renameContainer)
	s.handle("POST /containers/{name}/update", s.updateContainer)
	s.handle("POST /containers/{name}/resize", s.resizeContainer)
	s.handle("POST /containers/{name}/wait", s.waitContainer)
	s.handle("POST /containers/{name}/attach", s.attachContainer)
	s.handle("GET /containers/{name}/logs", s.logs)
	s.handle("GET /containers/{name}/top", s.top)
	s.handle("GET /containers/{name}/stats", s.stats)
	s.handle("GET /containers/{name}/changes", s.changes)
	s.handle("GET /containers/{name}/export", s.exportContainer)
	s.handle("GET /containers/{name}/archive", s.getArchive)
	s.handle("HEAD /containers/{name}/archive", s.headArchive)
	s.handle("PUT /containers/{name}/archive", s.putArchive)
	s.handle("DELETE /containers/{name}", s.removeContainer)
	s.handle("GET /containers/{name}/attach/ws", s.attachByWebsocket)
	s.absent("checkpoints", "/containers/{name}/checkpoints", "/containers/{name}/checkpoints/{rest...}")
}

// A console is the first size of a container's terminal, which a client sends when it makes the container and which holds for its first start.
type consoles struct {
	mu    sync.Mutex
	sizes map[string]namespace.WinSize
}

func (c *consoles) put(id string, size [2]uint) {
	if size == [2]uint{} {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sizes == nil || len(c.sizes) > 1000 { // of containers that were never started
		c.sizes = make(map[string]namespace.WinSize)
	}
	c.sizes[id] = winSize(size[0], size[1])
}

func (c *consoles) take(id string) namespace.WinSize {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := c.sizes[id]
	delete(c.sizes, id)
	return size
}

func winSize(rows, cols uint) namespace.WinSize {
	return namespace.WinSize{Rows: uint16(min(rows, 1<<16-1)), Cols: uint16(min(cols, 1<<16-1))}
}

func (s *Server) createContainer(w http.ResponseWriter, r *http.Request) error {
	b := &createBody{}
	if err := s.readJSON(w, r, b, false); err != nil {
		return err
	}
	cfg, err := s.configOf(b)
	if err != nil {
		return err
	}
	q := queryOf(r)
	cfg.Name, cfg.Platform = q.Get("name"), q.Get("platform")
	c, err := s.Engine.Create(r.Context(), cfg)
	if err != nil && status(err) == http.StatusNotFound {
		if _, missing := s.Engine.ImageFor(r.Context(), cfg.Image, cfg.Platform); missing == nil { // at 404 clients pull the image
			return badRequest("%s", message(err))
		}
	}
	if err != nil {
		return err
	}
	s.consoles.put(c.ID, b.HostConfig.ConsoleSize)
	return writeJSON(w, http.StatusCreated, &container.CreateResponse{ID: c.ID, Warnings: []string{}})
}

// startContainer starts a container that goes on without this program. Those who attached to it before get all that it prints.
func (s *Server) startContainer(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength > 0 {
		return badRequest("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
	}
	c, err := s.Engine.Inspect(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	switch {
	case c.State.Paused:
		return failure(http.StatusConflict, "cannot start a paused container, try unpause instead")
	case c.State.Status == engine.Running:
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	// A client that hangs up meanwhile does not leave it half started.
	ctx := context.WithoutCancel(r.Context())
	defer s.attachments.begin(c.ID)()
	run, err := s.Engine.Start(ctx, c.ID, &engine.StartOptions{Detach: true, TTYSize: s.consoles.take(c.ID)})
	if err != nil {
		return startError(err)
	}
	// Until Leave nobody can remove it.
	s.attachments.started(ctx, s.Engine, run)
	if err := run.Leave(); err != nil {
		s.log.Warn("container that was started", "id", c.ID, "error", err)
	}
	return noContent(w)
}

// startError has the words by which the docker command tells what its exit status is to be.
func startError(err error) error {
	switch engine.ExitCode(err) {
	case 127:
		return badRequest("failed to create task for container: executable file not found in $PATH: %w", err)
	case 126:
		return badRequest("failed to create task for container: permission denied: %w", err)
	}
	return err
}

// timeout reads the parameter "t", in seconds, of stop and restart.
func (q query) timeout(c *engine.Container) (time.Duration, error) {
	n, err := q.int("t", int(c.StopDelay()/time.Second))
	return time.Duration(min(max(n, -1), 1<<30)) * time.Second, err
}

func (s *Server) stopContainer(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Engine.Inspect(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	t, err := queryOf(r).timeout(c)
	if err != nil {
		return err
	}
	sig, err := queryOf(r).signal()
	if err != nil {
		return err
	}
	if c.State.Status != engine.Running && !c.State.Restarting {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	// A client that hangs up does not have it half stopped, and one that waits for ever does not keep this program from ending.
	if err := s.Engine.StopBySignal(lasting(r), c.ID, sig, t); err != nil {
		return err
	}
	return noContent(w)
}

// signal reads the parameter of that name of stop and restart: 0 is the container's own.
func (q query) signal() (syscall.Signal, error) {
	name := q.Get("signal")
	if name == "" {
		return 0, nil
	}
	n, err := engine.ParseSignal(name)
	return syscall.Signal(n), err
}

func (s *Server) restartContainer(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Engine.Inspect(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	t, err := queryOf(r).timeout(c)
	if err != nil {
		return err
	}
	sig, err := queryOf(r).signal()
	if err != nil {
		return err
	}
	if err := s.Engine.RestartBySignal(lasting(r), c.ID, sig, t); err != nil { // as for stop
		return startError(err)
	}
	return noContent(w)
}

func (s *Server) killContainer(w http.ResponseWriter, r *http.Request) error {
	sig, err := engine.ParseSignal(cmp.Or(queryOf(r).Get("signal"), "KILL"))
	if err != nil {
		return err
	}
	if err := s.Engine.Kill(r.Context(), r.PathValue("name"), syscall.Signal(sig)); err != nil {
		return err
	}
	return noContent(w)
}

// simply answers a request to do one thing with a container.
func (s *Server) simply(do func(*engine.Engine, context.Context, string) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := do(s.Engine, r.Context(), r.PathValue("name")); err != nil {
			return err
		}
		return noContent(w)
	}
}

func (s *Server) renameContainer(w http.ResponseWriter, r *http.Request) error {
	name := queryOf(r).Get("name")
	if name == "" {
		return badRequest("Neither old nor new names may be empty")
	}
	if err := s.Engine.Rename(r.Context(), r.PathValue("name"), name); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) removeContainer(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	if q.bool("link") {
		return notImplemented("link")
	}
	if err := s.Engine.Remove(r.Context(), r.PathValue("name"), &engine.RemoveOptions{Force: q.bool("force"), Volumes: q.bool("v")}); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) resizeContainer(w http.ResponseWriter, r *http.Request) error {
	size, err := queryOf(r).size()
	if err != nil {
		return err
	}
	run, err := s.Engine.Adopt(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	defer func() { _ = run.Leave() }()
	if !run.Container().Config.TTY {
		return failure(http.StatusConflict, "container %s has no terminal", run.Container().Name)
	}
	in, err := run.Process().Input(r.Context())
	if err != nil {
		return failure(http.StatusConflict, "container %s is not running", run.Container().Name)
	}
	defer in.Close()
	if err := namespace.Resize(in, size); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// size reads the parameters "h" and "w" of a terminal.
func (q query) size() (size namespace.WinSize, err error) {
	rows, err := q.int("h", 0)
	cols, err2 := q.int("w", 0)
	if err = errors.Join(err, err2); err != nil || rows < 0 || cols < 0 || rows > 1<<16-1 || cols > 1<<16-1 {
		return size, badRequest("invalid size of a terminal: h=%q, w=%q", q.Get("h"), q.Get("w"))
	}
	return namespace.WinSize{Rows: uint16(rows), Cols: uint16(cols)}, nil
}

// pruneContainers removes those that have ended, or were never started.
func (s *Server) pruneContainers(w http.ResponseWriter, r *http.Request) error {
	f, err := queryOf(r).filters("until", "label", "label!")
	if err != nil {
		return err
	}
	until, err := f.until()
	if err != nil {
		return err
	}
	list, err := s.Engine.List(r.Context())
	if err != nil {
		return err
	}
	report := &container.PruneReport{ContainersDeleted: []string{}}
	for _, c := range list {
		if c.State.Status == engine.Running || c.State.Restarting || !f.labels(c.Labels) || !until.IsZero() && !c.Created.Before(until) {
			continue
		}
		size, _ := s.Engine.ContainerSize(r.Context(), c.ID)
		switch err := s.Engine.Remove(r.Context(), c.ID, nil); {
		case err == nil:
			report.ContainersDeleted = append(report.ContainersDeleted, c.ID)
			report.SpaceReclaimed += uint64(size)
		case !errors.Is(err, fs.ErrExist): // else it was started meanwhile
			return err
		}
	}
	return writeJSON(w, http.StatusOK, report)
}

// until reads the filter of that name: a time, or how long ago.
func (f filters) until() (time.Time, error) {
	switch len(f["until"]) {
	case 0:
		return time.Time{}, nil
	case 1:
		return parseTime(f["until"][0])
	}
	return time.Time{}, badRequest("more than one until filter specified")
}

func (s *Server) exportContainer(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Engine.Inspect(r.Context(), r.PathValue("name")); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-tar")
	return s.Engine.Export(r.Context(), r.PathValue("name"), w)
}

// flushing writes to a client at once.
type flushing struct {
	io.Writer
	c *http.ResponseController
}

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if err == nil {
		err = f.c.Flush()
	}
	return n, err
}

// stream begins an answer that goes on for as long as there is something to say.
func stream(w http.ResponseWriter, kind string) io.Writer {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(http.StatusOK)
	f := flushing{w, http.NewResponseController(w)}
	_ = f.c.Flush() // the client may wait for it before it does the next thing
	return f
}
