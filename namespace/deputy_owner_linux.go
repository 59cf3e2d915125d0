package namespace

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetOwner has what the Deputy makes from here on belong to a user and a group of its user namespace, over whose files it has all
// capabilities still: see [AsOwner].
func (d *Deputy) SetOwner(uid, gid uint32) error {
	const noFixup = 1 << 2 // SECBIT_NO_SETUID_FIXUP: the capabilities over files stay
	if _, err := d.Call(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, noFixup, 0, 0, 0); err != nil {
		return fmt.Errorf("set securebits: %w", err)
	}
	for _, x := range []struct {
		name string
		nr   int
		id   uint32
		maps []IDMapping
	}{{"setfsgid", unix.SYS_SETFSGID, gid, d.gids}, {"setfsuid", unix.SYS_SETFSUID, uid, d.uids}} {
		// It returns the id that there was, and says nothing of a failure: asked again, it says whether it is the new one.
		var was int
		var err error
		for range 2 {
			was, err = d.Call(x.nr, x.id)
		}
		if err == nil && uint32(was) != x.id {
			return noOwner(x.name, x.id, x.maps)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	return nil
}
