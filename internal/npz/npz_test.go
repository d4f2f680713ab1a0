package npz

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"
)

var roomy = Limits{Members: 8, Elements: 100}

// npy makes a member as numpy does.
func npy(descr, rest string, numbers ...float32) string {
	header := fmt.Sprintf("{'descr': '%s', %s}", descr, rest)
	for (10+len(header)+1)%64 != 0 {
		header += " "
	}
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)+1), byte((len(header)+1)>>8))
	b = append(b, header+"\n"...)
	b, err := binary.Append(b, binary.LittleEndian, numbers)
	if err != nil {
		panic(err) // floats have a size
	}
	return string(b)
}

// file makes an npz file of name, content, name, content …
func file(t testing.TB, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		w, err := z.Create(members[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(members[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The file was written by numpy 2: np.savez_compressed.
func TestRead(t *testing.T) {
	data, err := os.ReadFile("testdata/numpy.npz")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(data, roomy)
	want := map[string]Array{
		"w0":     {[]int{2, 3}, []float32{1, 2, 3, 4, 5, -6.5}},
		"b0":     {[]int{3}, []float32{.1, 1e-3, 3}}, // was float64
		"one":    {[]int{1}, []float32{7}},
		"scalar": {nil, []float32{2.5}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Read = %v, %v, want %v", got, err, want)
	}
	for cut := range data {
		if _, err := Read(data[:cut], roomy); !errors.Is(err, ErrFormat) {
			t.Fatalf("a file cut at %d: %v", cut, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	const plain = "'fortran_order': False, 'shape': (2,), "
	good := npy("<f4", plain, 1, 2)
	if _, err := Read(file(t, "a.npy", good), roomy); err != nil {
		t.Fatal(err)
	}
	many := []string{}
	for i := range 9 {
		many = append(many, fmt.Sprintf("%d.npy", i), good)
	}
	for name, data := range map[string][]byte{
		"no zip":            []byte("PK"),
		"too many arrays":   file(t, many...),
		"another name":      file(t, "a.txt", good),
		"twice":             file(t, "a.npy", good, "a.npy", good),
		"empty":             file(t, "a.npy", ""),
		"no magic":          file(t, "a.npy", "\x93NUMPI"+good[6:]),
		"another version":   file(t, "a.npy", good[:6]+"\x02"+good[7:]),
		"long header":       file(t, "a.npy", good[:8]+"\xff\xff"+good[10:]),
		"integers":          file(t, "a.npy", npy("<i4", plain, 1, 2)),
		"big-endian":        file(t, "a.npy", npy(">f4", plain, 1, 2)),
		"objects":           file(t, "a.npy", npy("|O", plain, 1, 2)),
		"Fortran order":     file(t, "a.npy", npy("<f4", "'fortran_order': True, 'shape': (2,), ", 1, 2)),
		"no shape":          file(t, "a.npy", npy("<f4", "'fortran_order': False", 1, 2)),
		"negative shape":    file(t, "a.npy", npy("<f4", "'fortran_order': False, 'shape': (-2,), ", 1, 2)),
		"too many elements": file(t, "a.npy", npy("<f4", "'fortran_order': False, 'shape': (101,), ", make([]float32, 101)...)),
		"product overflows": file(t, "a.npy", npy("<f4", "'fortran_order': False, 'shape': (99999999, 99999999, 99999999), ")),
		"all together":      file(t, "a.npy", npy("<f4", "'fortran_order': False, 'shape': (60,), ", make([]float32, 60)...), "b.npy", npy("<f4", "'fortran_order': False, 'shape': (60,), ", make([]float32, 60)...)),
		"too few numbers":   file(t, "a.npy", npy("<f4", plain, 1)),
		"too many numbers":  file(t, "a.npy", npy("<f4", plain, 1, 2, 3)),
		"no number":         file(t, "a.npy", good[:len(good)-4]+"\x00\x00\xc0\x7f"),
		"infinity":          file(t, "a.npy", good[:len(good)-4]+"\x00\x00\x80\x7f"),
	} {
		if got, err := Read(data, roomy); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, %v, want ErrFormat", name, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file(f, "a.npy", npy("<f4", "'fortran_order': False, 'shape': (1, 1), ", 1)))
	f.Add(file(f, "a.npy", npy("<f8", "'fortran_order': False, 'shape': (), ", 1, 2)))
	f.Fuzz(func(t *testing.T, data []byte) {
		arrays, err := Read(data, roomy)
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("Read = %v, want ErrFormat", err)
		}
		n := 0
		for _, a := range arrays {
			n += len(a.Data)
		}
		if len(arrays) > roomy.Members || n > roomy.Elements {
			t.Errorf("%d arrays of %d elements", len(arrays), n)
		}
	})
}
