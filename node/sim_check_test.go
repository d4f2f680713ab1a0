package node

import "testing"

// The checkers are checked: when repeated batches are applied again, as without sessions, the
// history cannot be explained. Here that takes a lost answer to a transfer that was made.
func TestSimulationFindsDoubleApplication(t *testing.T) {
	const most = 8
	for seed := range uint64(most) {
		s := runSim(t, 1000+seed, func(s *sim) { s.forgetful = true })
		if _, err := s.history.check(); err != nil {
			t.Logf("found after %d seeds, as it should be: %v", seed+1, err)
			return
		}
	}
	t.Errorf("%d histories without deduplication were all found linearizable", most)
}
