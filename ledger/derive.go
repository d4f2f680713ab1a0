package ledger

// Derive returns a key for one purpose that all members of the federation share and nobody
// else knows; ok is false while the ledger is empty. It is not for secrets that a member must
// not guess.
func (c *Client) Derive(purpose string) (key [32]byte, ok bool) {
	key = c.hash("derive " + purpose)
	return key, key != digest{}
}
