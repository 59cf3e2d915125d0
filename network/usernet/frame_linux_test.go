package usernet

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFrameTake: what the stack is handed keeps at most twice the memory of the packet, whose sender may have the stack keep many, and is not
// written over by what comes next.
func TestFrameTake(t *testing.T) {
	f := &frame{}
	defer f.release()
	for _, size := range []int{65, 1500, 4 << 10, 4<<10 + 1, 9000, 32 << 10, 32<<10 + 1, maxPacket} {
		fill := func(c byte) { copy(f.parts()[1], bytes.Repeat([]byte{c}, size)) }
		fill('a')
		f.size = size
		b := f.take()
		views := b.AsViewList()
		require.Equal(t, views.Front(), views.Back())
		packet := views.Front().AsSlice()
		fill('b')
		require.Equal(t, bytes.Repeat([]byte{'a'}, size), packet)
		require.Less(t, cap(packet), 2*size, size)
		b.Release()
	}
}
