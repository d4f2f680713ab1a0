// Package load drives a horde from outside, over HTTP, and measures it.
//
//	Connect ──► Target: addresses, accounts, workers
//	            │  Async  Drain (pop, submit)  Cycle  Ledger      Calibration
//	            └──► Result: rate, p50, p99, refusals ──► Report: medians, ratios, tables
//
// Absolute figures drift from run to run and from machine to machine. So every run is
// interleaved with a calibration, a bare net/http handler that decodes the same 3 kB body
// into a typed struct and replies JSON, and what counts is the ratio between the two.
package load
