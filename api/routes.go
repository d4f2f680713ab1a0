package api

import "slices"

// routes lists what the server serves, resource by resource.
func (s *Server) routes() []route {
	return slices.Concat(
		s.imageRoutes(),
		s.textRoutes(),
		s.interrogateRoutes(),
		s.blobRoutes(),
		s.webhookRoutes(),
		s.fedLedgerRoutes(),
		s.fedKudosRoutes(),
		s.eventRoutes(),
		s.userRoutes(),
		s.workerRoutes(),
		s.kudosRoutes(),
		s.statusRoutes(),
		s.modesRoutes(),
		s.communityRoutes(),
		s.operationsRoutes(),
		s.registerRoutes(),
		s.pageRoutes(),
		s.docsRoutes(),
		s.testUserRoutes(),
		s.endpointRoutes(),
	)
}
