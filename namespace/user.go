package namespace

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Returned, wrapped, by [Root.LookupUser] when a name is not in the root's files. They satisfy fs.ErrNotExist.
var (
	ErrNoUser  error = lookupError("no matching entries in passwd file")
	ErrNoGroup error = lookupError("no matching entries in group file")
)

type lookupError string

func (e lookupError) Error() string        { return string(e) }
func (e lookupError) Is(target error) bool { return target == fs.ErrNotExist }

// maxID is the highest id that is accepted, as in Docker: higher ones have been read as negative numbers.
const maxID = 1<<31 - 1

// errIDRange is the same for all.
var errIDRange = fmt.Errorf("uids and gids must be in range 0-%d", maxID)

// maxUserFile is the size in bytes of the longest passwd or group file that is read, 8 MiB.
const maxUserFile = 8 << 20

// LookupUser finds a user as Docker's --user and an image's USER name it: "name", "uid", "name:group", "uid:gid" or
// mixed, by the root's /etc/passwd and /etc/group, which need not exist for numbers. "" is the user with id 0. A uid
// that is not in the file has gid 0 and the home folder "/". Groups holds the primary group first, then, unless spec
// names a group, those that list the user as a member, and last the extra groups, which are names or gids (Docker's
// --group-add); each once. The primary group is among them so that leaving it does not go round a permission that
// denies it.
//
// An entry of the files with an id that is no number from 0 to 2147483647 counts as absent. A name that is not found is
// [ErrNoUser] or [ErrNoGroup].
func (r *Root) LookupUser(spec string, extraGroups ...string) (*User, error) {
	userArg, groupArg, _ := strings.Cut(spec, ":")
	if strings.Contains(groupArg, ":") {
		return nil, fmt.Errorf("user %q: more than one colon", spec)
	}
	// The ids are looked at before the files: a bad one stays bad whatever the image says.
	if _, _, err := parseID(userArg); err != nil {
		return nil, fmt.Errorf("user %s: %w", userArg, err)
	}
	for _, g := range append([]string{groupArg}, extraGroups...) {
		if _, _, err := parseID(g); err != nil {
			return nil, fmt.Errorf("group %s: %w", g, err)
		}
	}
	passwd, err := r.userFile("/etc/passwd")
	if err != nil {
		return nil, fmt.Errorf("find user %q: %w", spec, err)
	}
	u, err := findUser(passwd, userArg)
	if err != nil {
		return nil, err
	}
	var group []byte
	if u.Name != "" || groupArg != "" || len(extraGroups) > 0 {
		if group, err = r.userFile("/etc/group"); err != nil {
			return nil, fmt.Errorf("find groups of user %q: %w", spec, err)
		}
	}
	if err := u.findGroups(group, groupArg, extraGroups); err != nil {
		return nil, err
	}
	return u, nil
}

// findUser finds the first entry with the name or the id.
func findUser(passwd []byte, arg string) (*User, error) {
	if arg == "" {
		arg = "0"
	}
	id, numeric, err := parseID(arg)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", arg, err)
	}
	for e := range passwdEntries(passwd) {
		if e.name == arg || numeric && e.uid == id {
			u := &User{Name: e.name, UID: e.uid, GID: e.gid, Home: e.home}
			if u.Home == "" {
				u.Home = "/"
			}
			return u, nil
		}
	}
	if !numeric {
		return nil, fmt.Errorf("unable to find user %s: %w", arg, ErrNoUser)
	}
	return &User{UID: id, Home: "/"}, nil
}

// findGroups sets the groups.
func (u *User) findGroups(group []byte, groupArg string, extra []string) error {
	if groupArg != "" {
		gid, err := findGroup(group, groupArg)
		if err != nil {
			return err
		}
		u.GID = gid
	}
	u.Groups = []uint32{u.GID}
	seen := map[uint32]bool{u.GID: true}
	add := func(gid uint32) {
		if !seen[gid] && len(u.Groups) <= maxGroups {
			seen[gid] = true
			u.Groups = append(u.Groups, gid)
		}
	}
	if groupArg == "" && u.Name != "" {
		for e := range groupEntries(group) {
			if e.has(u.Name) {
				add(e.gid)
			}
		}
	}
	for _, g := range extra {
		gid, err := findGroup(group, g)
		if err != nil {
			return err
		}
		add(gid)
	}
	if len(u.Groups) > maxGroups {
		return fmt.Errorf("user %s: more groups than the kernel's limit of %d", u.Name, maxGroups)
	}
	return nil
}

// maxGroups is NGROUPS_MAX.
const maxGroups = 65536

// findGroup finds the first entry with the name or the id; an id needs no entry.
func findGroup(group []byte, arg string) (uint32, error) {
	id, numeric, err := parseID(arg)
	if err != nil {
		return 0, fmt.Errorf("group %s: %w", arg, err)
	}
	for e := range groupEntries(group) {
		if e.name == arg {
			return e.gid, nil
		}
		if numeric && e.gid == id {
			return id, nil
		}
	}
	if !numeric {
		return 0, fmt.Errorf("unable to find group %s: %w", arg, ErrNoGroup)
	}
	return id, nil
}

// parseID reads an id. What looks like a number and is none that can be an id is an error, and no name.
func parseID(s string) (id uint32, numeric bool, err error) {
	digits := strings.TrimLeft(s, "+-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > maxID {
		return 0, false, errIDRange
	}
	return uint32(n), true, nil
}

// A passwdEntry is a line of passwd(5).
type passwdEntry struct {
	name, home string
	uid, gid   uint32
}

// passwdEntries yields the lines that are entries.
func passwdEntries(b []byte) func(func(passwdEntry) bool) {
	return func(yield func(passwdEntry) bool) {
		for fields := range entries(b, 4) {
			e := passwdEntry{name: fields[0]}
			var okUID, okGID bool
			e.uid, okUID, _ = parseID(fields[2])
			e.gid, okGID, _ = parseID(fields[3])
			if len(fields) > 5 {
				e.home = fields[5]
			}
			if okUID && okGID && !yield(e) {
				return
			}
		}
	}
}

// A groupEntry is a line of group(5).
type groupEntry struct {
	name, members string
	gid           uint32
}

// has tells whether the user is a member.
func (e groupEntry) has(user string) bool {
	for m := range strings.SplitSeq(e.members, ",") {
		if m == user {
			return true
		}
	}
	return false
}

// groupEntries yields the lines that are entries.
func groupEntries(b []byte) func(func(groupEntry) bool) {
	return func(yield func(groupEntry) bool) {
		for fields := range entries(b, 3) {
			e := groupEntry{name: fields[0]}
			var ok bool
			e.gid, ok, _ = parseID(fields[2])
			if len(fields) > 3 {
				e.members = fields[3]
			}
			if ok && !yield(e) {
				return
			}
		}
	}
}

// entries yields the fields of each line that has at least so many and a name. Comments, the lines of NIS, and lines
// that hold bytes no such file has are left out.
func entries(b []byte, least int) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range bytes.Lines(b) {
			line = bytes.TrimSpace(line)
			if len(line) == 0 || strings.IndexByte("#+-", line[0]) >= 0 || bytes.IndexByte(line, 0) >= 0 {
				continue
			}
			fields := strings.SplitN(string(line), ":", 8)
			if len(fields) >= least && fields[0] != "" && !yield(fields) {
				return
			}
		}
	}
}
