// Package webhook tells clients of results at addresses that they gave with their requests.
//
//	home: result durable ──Delivered──► queue (256) ──► senders ──► POST, signed ──► client's host
//	                          │                            │
//	                          └── note on disk             └── three attempts, then the note goes
//
// The path of a submit ends at the queue: a full queue drops the message and counts it, and
// nobody waits for a client's host. A host that keeps failing is left alone for a while, so
// that it does not keep the senders from others. A note, ids only, lets the next start of
// the node send what this one had taken on in the last 20 minutes and not delivered.
//
// What a message says and where it goes is made by the Render function, from a request's
// Body: webhook addresses travel nowhere else, and never reach logs.
package webhook
