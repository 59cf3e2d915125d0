package dockerapi

func (s *Server) containerRoutes() {}
