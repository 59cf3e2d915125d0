package registry

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// getTags lists tags, all of them or a page.
func (s *Server) getTags(w http.ResponseWriter, r *http.Request, to route) error {
	query := r.URL.Query()
	n := -1
	if text := query.Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 {
			return newAnswer(http.StatusBadRequest, CodeUnsupported, "n is not a number of tags")
		}
	}
	tags, err := s.store.Tags(r.Context(), to.repository)
	if err != nil {
		return err
	}
	if last := query.Get("last"); last != "" {
		i, found := slices.BinarySearch(tags, last)
		if found {
			i++
		}
		tags = tags[i:]
	}
	if n >= 0 && n < len(tags) {
		if tags = tags[:n]; n > 0 {
			next := url.Values{"n": {strconv.Itoa(n)}, "last": {tags[n-1]}}
			w.Header().Set("Link", "<"+to.link("tags", "list")+"?"+next.Encode()+`>; rel="next"`)
		}
	}
	if tags == nil {
		tags = []string{}
	}
	w.Header().Set("Content-Type", "application/json")
	err = json.NewEncoder(w).Encode(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{to.repository, tags})
	return begin(err)
}

func begin(err error) error {
	if err == nil {
		return nil
	}
	return &begunError{err}
}
