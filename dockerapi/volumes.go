package dockerapi

func (s *Server) volumeRoutes() {}
