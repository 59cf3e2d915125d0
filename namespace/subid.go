package namespace

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
)

// maxSubIDFile is the size in bytes of the longest /etc/subuid that is read, 1 MiB.
const maxSubIDFile = 1 << 20

// SubordinateMappings returns the maps that give a container all ids which /etc/subuid and /etc/subgid grant to a user of
// the host, a name or a number, from 0 on: subuid(5). A user without any is an error that satisfies fs.ErrNotExist.
func SubordinateMappings(name string) (uids, gids []IDMapping, err error) {
	if uids, err = subordinate("/etc/subuid", name, 0); err == nil {
		gids, err = subordinate("/etc/subgid", name, 0)
	}
	if err != nil {
		return nil, nil, err
	}
	return uids, gids, nil
}

// subordinate maps the ranges that a file grants to a user, from an id inside on.
func subordinate(file, name string, first uint32) ([]IDMapping, error) {
	ranges, err := subIDs(file, name)
	if err != nil {
		return nil, err
	}
	var maps []IDMapping
	next := uint64(first)
	for _, r := range ranges {
		if next+uint64(r.Size) > maxID || len(maps) == maxMappings-1 {
			break
		}
		r.ContainerID = uint32(next)
		next += uint64(r.Size)
		maps = append(maps, r)
	}
	if len(maps) == 0 {
		return nil, fmt.Errorf("%s grants nothing to user %s (a line like %s:100000:65536 does): %w", file, name, name, fs.ErrNotExist)
	}
	return maps, nil
}

// keepID makes room for an id in maps that begin with 0 and have no gap: it becomes the user's.
func keepID(maps []IDMapping, id, host uint32) []IDMapping {
	kept := IDMapping{ContainerID: id, HostID: host, Size: 1}
	var all []IDMapping
	for _, m := range maps {
		below := m
		if m.ContainerID < id {
			below.Size = min(m.Size, id-m.ContainerID)
			all = append(all, below)
		} else {
			below.Size = 0
		}
		if rest := m.Size - below.Size; rest > 0 && m.ContainerID+below.Size <= maxID-rest {
			if m.ContainerID <= id {
				all = append(all, kept)
			}
			all = append(all, IDMapping{ContainerID: m.ContainerID + below.Size + 1, HostID: m.HostID + below.Size, Size: rest})
		}
	}
	if _, ok := HostID(all, id); !ok {
		all = append(all, kept)
	}
	return all
}

// subIDs reads the ranges of a user, whom a line may name by name or by number.
func subIDs(file, name string) ([]IDMapping, error) {
	other := name
	if u, err := user.Lookup(name); err == nil {
		other = u.Uid
	} else if u, err := user.LookupId(name); err == nil {
		other = u.Username
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Size() > maxSubIDFile:
		return nil, fmt.Errorf("read %s: larger than %d bytes", file, maxSubIDFile)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parseSubIDs(b, name, other), nil
}

// parseSubIDs takes the lines of one of two names. What is no line of subuid(5), is no range of ids or overlaps an earlier
// range counts as absent.
func parseSubIDs(b []byte, names ...string) (ranges []IDMapping) {
	for line := range bytes.Lines(b) {
		f := bytes.Split(bytes.TrimSpace(line), []byte(":"))
		if len(f) != 3 || string(f[0]) != names[0] && string(f[0]) != names[len(names)-1] {
			continue
		}
		start, err := strconv.ParseUint(string(f[1]), 10, 32)
		size, err2 := strconv.ParseUint(string(f[2]), 10, 32)
		if err != nil || err2 != nil {
			continue
		}
		r := IDMapping{HostID: uint32(start), Size: uint32(size)}
		if checkMappings([]IDMapping{r}) != nil {
			continue
		}
		free := true
		for _, o := range ranges {
			free = free && !overlap(r.HostID, r.Size, o.HostID, o.Size)
		}
		if free {
			ranges = append(ranges, r)
		}
	}
	return ranges
}
