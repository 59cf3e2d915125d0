package dockerapi

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/caisson-engine/caisson/engine"
)

// pathOf reads the parameter "path".
func pathOf(r *http.Request) (string, error) {
	name := queryOf(r).Get("path")
	if name == "" {
		return "", badRequest("missing parameter in form: path")
	}
	return name, nil
}

// sendStat puts what a path is into the answer's head. Links in it are looked at inside the container.
func (s *Server) sendStat(w http.ResponseWriter, r *http.Request, name string) (fs.FileInfo, error) {
	st, err := s.Engine.StatPath(r.Context(), r.PathValue("name"), name, strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/."))
	if err != nil {
		return nil, err
	}
	stat := &container.PathStat{Name: path.Base(path.Join("/", name)), Size: st.Size(), Mode: st.Mode(), Mtime: st.ModTime()}
	if st.Mode()&fs.ModeSymlink != 0 {
		if target, err := s.Engine.FollowPath(r.Context(), r.PathValue("name"), name); err == nil {
			stat.LinkTarget = target
		}
	}
	b, err := json.Marshal(stat)
	if err != nil {
		return nil, err
	}
	w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString(b))
	return st, nil
}

func (s *Server) headArchive(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r)
	if err == nil {
		_, err = s.sendStat(w, r, name)
	}
	return err
}

func (s *Server) getArchive(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r)
	if err != nil {
		return err
	}
	if _, err := s.sendStat(w, r, name); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-tar")
	return s.Engine.CopyFrom(r.Context(), r.PathValue("name"), name, w)
}

func (s *Server) putArchive(w http.ResponseWriter, r *http.Request) error {
	name, err := pathOf(r)
	if err != nil {
		return err
	}
	st, err := s.Engine.StatPath(r.Context(), r.PathValue("name"), name, true)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return badRequest("extraction point is not a directory")
	}
	body, err := plain(r.Body)
	if err != nil {
		return err
	}
	// noOverwriteDirNonDir is always so: a folder takes the place of no file, and no file that of a folder.
	if err := s.Engine.CopyTo(r.Context(), r.PathValue("name"), name, body, &engine.CopyOptions{Owners: queryOf(r).bool("copyUIDGID")}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// plain returns a tar stream that may be compressed by gzip. Other compressions are refused.
func plain(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	head, _ := b.Peek(6) // one that is shorter is the extraction's to refuse
	switch {
	case len(head) > 2 && head[0] == 0x1f && head[1] == 0x8b:
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, badRequest("archive: %w", err)
		}
		return z, nil
	case strings.HasPrefix(string(head), "BZh"), string(head) == "\xfd7zXZ\x00", strings.HasPrefix(string(head), "\x28\xb5\x2f\xfd"):
		return nil, notImplemented("archives that are compressed otherwise than by gzip")
	}
	return b, nil
}
