package api

import (
	"net/http"

	"hordenode/internal/horde"
)

// imageRateSchema is the body of POST /generate/rate/{id}.
func imageRateSchema() *schema {
	return object(
		may("best", text(36, 36)),
		may("ratings", list(object(
			must("id", text(36, 36)),
			must("rating", whole(1, 10)),
			may("artifacts", whole(0, 5)),
		), 0, 100)),
	)
}

// imageRate serves POST /api/v2/generate/rate/{id}. Only images that were shared can be
// rated, and no request is: the reference ignores the field as well (spec/image.md 2.1).
func (s *Server) imageRate(_ http.ResponseWriter, r *http.Request) error {
	st, err := s.status(r, horde.KindImage, false)
	if err != nil {
		return err
	}
	if !st.Done {
		return horde.Refuse(horde.RCAestheticsNotCompleted, "The request is not done yet.")
	}
	return horde.Refuse(horde.RCAestheticsNotPublic, "Only shared images can be rated.")
}
