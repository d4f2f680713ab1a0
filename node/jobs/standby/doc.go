// Package standby keeps copies of a home's requests at another member, so that the requests
// outlive the home (docs/decisions/0022-takeover.md).
//
//	home                                              its backup
//	jobs.Home ─ Keep, Drop ─► Copier ── /horde/backup/1 ──► Store ─ Copies ─► jobs.Home (Adopt)
//	                            │ begins with everything that the home has      when the ledger says
//	                            └ registers the backup once it has it all       that it is the successor
//
// A copy is sealed by the home for its backup: the content key of a session is sealed with
// HPKE (RFC 9180) to a key that the backup derives from its node key, the items with
// AES-256-GCM. Nothing readable lies in the backup's store.
//
// Copies follow what is durable at the home and never hold it up for long: a backup that does
// not answer in time is behind, and one that is away is replaced.
package standby
