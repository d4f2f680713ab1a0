package modelref

import _ "embed"

// The sources that come with the program: a few well-known models of each family, so that a
// new node has something to serve. Operators name the references of their community instead.
const (
	BuiltinImages = "builtin:images"
	BuiltinTexts  = "builtin:texts"
)

//go:embed defaults/image.json
var builtinImages []byte

//go:embed defaults/text.json
var builtinTexts []byte

// builtin returns a source that comes with the program.
func builtin(src string) ([]byte, bool) {
	switch src {
	case BuiltinImages:
		return builtinImages, true
	case BuiltinTexts:
		return builtinTexts, true
	}
	return nil, false
}
