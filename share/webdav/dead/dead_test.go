package dead

import (
	"fmt"
	"testing"
)

func TestBounds(t *testing.T) {
	p := New()
	p.atMost = 20_000
	value := func(n int) []Property { return []Property{{Value: make([]byte, n)}} }
	if err := p.Patch([]string{"a"}, value(maxOfOne+1)); err == nil {
		t.Error("one resource may have too much")
	}
	for i := range 1000 {
		if err := p.Patch([]string{fmt.Sprint(i)}, value(1000)); err != nil {
			t.Fatal(err)
		}
		p.Get([]string{"0"}) // is asked about, and stays
	}
	if p.bytes > p.atMost || len(p.of) > 20 {
		t.Errorf("%d bytes of %d resources are kept", p.bytes, len(p.of))
	}
	if p.Get([]string{"0"}) == nil || p.Get([]string{"999"}) == nil || p.Get([]string{"1"}) != nil {
		t.Error("others are kept than those that are used")
	}
	p.Copy([]string{"0"}, []string{"x"}, true)
	p.Move([]string{"x"}, []string{"y", "z"})
	if p.Get([]string{"x"}) != nil || p.Get([]string{"y", "z"}) == nil || p.Get([]string{"0"}) == nil {
		t.Error("copied or moved to elsewhere")
	}
	p.Drop([]string{"y"})
	if p.Get([]string{"y", "z"}) != nil {
		t.Error("what was below a folder outlives it")
	}
}
