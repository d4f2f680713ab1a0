package load

import (
	"context"
	"fmt"
)

// A Step is one thing to measure; a run of it may yield several results (pop and submit).
type Step struct {
	Name string
	Run  func(ctx context.Context) ([]Result, error)
}

// Interleave runs calibration and step in turns, all steps in every round, and tells
// progress of each result as it comes. A step that fails does not end the others; the
// errors are returned beside the results.
func Interleave(ctx context.Context, rounds int, calibrate func(context.Context) Result, steps []Step, progress func(Result)) ([]Result, []error) {
	var all []Result
	var errs []error
	for range rounds {
		for _, s := range steps {
			if err := context.Cause(ctx); err != nil {
				return all, append(errs, err)
			}
			base := calibrate(ctx)
			progress(base)
			all = append(all, base)
			results, err := s.Run(ctx)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
				continue
			}
			for _, r := range results {
				r.Calibration = base.Rate
				progress(r)
				all = append(all, r)
			}
		}
	}
	return all, errs
}
