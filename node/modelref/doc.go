// Package modelref knows the image and text models: their families and sizes, and what they
// ask of a request.
//
//	files, URLs ──load──► parse ──► snapshot (atomic pointer) ◄── lookups, from anywhere
//	               │                  replaced as a whole, hourly (Run)
//	               └──► last good copy in Dir, read when the source fails
//
// References are the AI Horde's public JSON files: an object keyed by model name. Several
// image references are merged, later ones win. Without any reference every model is unknown,
// which is no error: unknown image models belong to Stable Diffusion 1, unknown text models
// count one billion parameters (spec/image.md section 3.5, spec/text.md section 9).
package modelref
