package api

import "testing"

func FuzzFormRequest(f *testing.F) {
	fuzzDecoder(f, interrogateSchema(), "source_image forms", func() reader { return new(formOrder) },
		`{"source_image":"x","forms":[{"name":"caption","payload":{"a":1}}]}`)
}

func FuzzFormPop(f *testing.F) {
	fuzzDecoder(f, interrogatePopSchema(), "name", func() reader { return new(interrogatePopRequest) },
		`{"name":"w","forms":["caption"],"amount":2,"priority_usernames":["a#1"]}`)
}
