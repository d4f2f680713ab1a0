// Package relay keeps, on this node's disk, what homes that cannot be reached shall get:
// results that workers submitted here, images that they uploaded, cancellations.
//
//	Keep ──► disk ──► queue of each home ──► Deliver, until it is taken or its life ends
//	Note ──► memory ──► disk, soon           Fact: what a job was granted for
//
// An item is opaque bytes with a group, the request or job that it is about. Items of one
// group reach their home in the order in which they were kept; one that fails does not hold
// up those of other groups. Delivery may happen twice (the answer was lost, this node
// crashed): what is delivered must be harmless to repeat. That is exchange's business, as is
// what an item says.
//
// Facts are what the node knows of jobs that it passed on to workers. They are written soon
// after Note returns; a crash in between loses them, which costs an exact reward in an answer
// and no money.
package relay
