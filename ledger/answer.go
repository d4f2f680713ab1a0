package ledger

// EncodeAnswer makes the answer that a batch of commands with the given results gets, for
// tests of those who send batches.
func EncodeAnswer(results []Result) []byte {
	return encode(answer{Code: codeOK, Results: results})
}
