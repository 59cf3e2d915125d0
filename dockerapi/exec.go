package dockerapi

// Execs are the commands that were made by the API to be executed in containers.
type execs struct{}

func (s *Server) execRoutes() {}
