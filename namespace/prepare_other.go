//go:build !linux

package namespace

// A Prepared is nothing: the system is not Linux.
type Prepared struct{}

// Prepare makes nothing: the system is not Linux.
func Prepare(bool) *Prepared { return &Prepared{} }

// Close does nothing.
func (p *Prepared) Close() {}

func (p *Prepared) hasNetwork() bool { return false }
