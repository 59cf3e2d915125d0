package dockerapi

func (s *Server) networkRoutes() {}
