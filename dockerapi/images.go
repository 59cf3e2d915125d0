package dockerapi

func (s *Server) imageRoutes() {
	s.absent("build", "POST /build", "POST /build/{rest...}", "/session", "/grpc")
}
