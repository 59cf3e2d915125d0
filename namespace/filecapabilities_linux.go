package namespace

import (
	"bytes"
	"encoding/binary"
)

// capabilityXattr has a file's capabilities.
const capabilityXattr = "security.capability"

// FileCapabilities returns the capabilities of a file, the value of the attribute security.capability as this program reads it, in
// the form in which the deputy sets them for another file; nil if they are not in force in its user namespace. See
// capabilities(7), "File capability extended attribute versioning".
func (d *Deputy) FileCapabilities(v []byte) []byte { return fileCapabilities(v, nil, d.uids) }

func fileCapabilities(v []byte, shown, uids []IDMapping) []byte {
	const (
		second, third = 0x02000000, 0x03000000
		version       = 0xff000000
		secondSize    = 20
		thirdSize     = 24
	)
	if len(v) < secondSize {
		return nil
	}
	magic := binary.LittleEndian.Uint32(v)
	root := uint32(0)
	if magic&version == third && len(v) == thirdSize {
		root = binary.LittleEndian.Uint32(v[secondSize:])
	} else if magic&version != second {
		return nil
	}
	if len(shown) > 0 {
		var ok bool
		if root, ok = HostID(shown, root); !ok {
			return nil
		}
	}
	if id, ok := ContainerID(uids, root); !ok || id != 0 {
		return nil
	}
	v = bytes.Clone(v[:secondSize])
	binary.LittleEndian.PutUint32(v, magic&^version|second)
	return v
}
