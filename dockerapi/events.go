package dockerapi

import "net/http"

func (s *Server) events(http.ResponseWriter, *http.Request) error {
	return failure(http.StatusNotImplemented, "not implemented: events")
}
