package pricing

import "testing"

func TestNetworkBlob(t *testing.T) {
	weights := make([]int16, Inputs*2)
	weights[0], weights[Inputs] = One, -One // h and -h
	blob := AppendLayer(nil, weights, []int32{0, One * One})
	blob = AppendLayer(blob, []int16{One, One / 2}, []int32{One * One})
	n, err := NewNetwork(blob)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		in   int32
		want int64
	}{
		{"both units on", One / 2, 175},  // 1 + 0.5 + (1-0.5)/2
		{"second cut off", 2 * One, 300}, // 1 + 2
		{"first cut off", -One, 200},     // 1 + 2/2
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := n.Centiseconds([Inputs]int32{tt.in}); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	for cut := range blob {
		if _, err := NewNetwork(blob[:cut]); err == nil {
			t.Errorf("a blob cut at %d is accepted", cut)
		}
	}
	if _, err := NewNetwork(append(blob, AppendLayer(nil, []int16{1, 1}, []int32{0})...)); err == nil {
		t.Error("layers that do not fit are accepted")
	}
	higher := AppendLayer(nil, make([]int16, Inputs), []int32{4 * One * One / 2}) // 2 s, whatever comes in
	two, err := NewNetwork(append(blob, higher...))
	if err != nil {
		t.Fatal(err)
	}
	if got := two.Centiseconds([Inputs]int32{2 * One}); got != 250 { // of 3 s and 2 s
		t.Errorf("the mean of two networks is %d, want 250", got)
	}
}

func TestKudosOf(t *testing.T) {
	for _, tt := range []struct {
		centiseconds int64
		want         string
	}{{645, "11.00"}, {1702, "29.03"}, {887, "15.13"}, {1493, "25.46"}, {446, "7.61"}} {
		if got := KudosOf(tt.centiseconds).String(); got != tt.want {
			t.Errorf("KudosOf(%d) = %s, want %s", tt.centiseconds, got, tt.want)
		}
	}
}
