package layer

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."     // AUFS's own files; nothing of an image
	whiteoutOpaque = ".wh..wh..opq" // the folder hides those of the layers below
	maxName        = 4095           // PATH_MAX less the final NUL
	overlayEscape  = "overlay."     // see xattrName
)

var (
	errOutside  = errors.New("name leads out of the layer")
	errNUL      = errors.New("name contains a NUL byte")
	errLongName = fmt.Errorf("name is longer than %d bytes", maxName)
	errRoot     = errors.New("only a folder can be the layer's root")
	errWhiteout = errors.New("whiteout of no name")
)

// cleanName makes an entry's name relative to the layer's root, without ".", ".." and doubled or final slashes. The
// root itself is "". Absolute names are taken as relative to the root.
func cleanName(name string) (string, error) {
	if len(name) > maxName {
		return "", errLongName
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", errNUL
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	switch {
	case clean == ".":
		return "", nil
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "", errOutside
	}
	return clean, nil
}

// splitName returns the folder and the last component of a clean name.
func splitName(name string) (dir, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// joinName is the reverse of splitName.
func joinName(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}

// isMeta says whether a clean name belongs to the AUFS storage driver, which old images contain by accident.
func isMeta(name string) bool {
	for rest := name; rest != ""; {
		component := rest
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			component, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
			if component == whiteoutOpaque {
				return false
			}
		}
		if strings.HasPrefix(component, whiteoutMeta) {
			return true
		}
	}
	return false
}

// whiteout returns what an entry whose last component is base removes: opaque, all that lower layers have in its
// folder, or the file of that name. Neither is set for any other entry.
func whiteout(base string) (name string, opaque bool, err error) {
	if !strings.HasPrefix(base, whiteoutPrefix) {
		return "", false, nil
	}
	if base == whiteoutOpaque {
		return "", true, nil
	}
	name = base[len(whiteoutPrefix):]
	if name == "" || name == "." || name == ".." {
		return "", false, errWhiteout
	}
	return name, false, nil
}

// xattrName returns the name under which an extended attribute of an image is kept, "" for one that is left out. See
// the package's documentation.
func xattrName(name string) string {
	class, rest, ok := strings.Cut(name, ".")
	if !ok || rest == "" || len(name) > 255 || strings.IndexByte(name, 0) >= 0 {
		return ""
	}
	switch class {
	case "user", "trusted":
		if strings.HasPrefix(rest, overlayEscape) {
			name = class + "." + overlayEscape + rest
			if len(name) > 255 {
				return ""
			}
		}
		return name
	case "security":
		if rest == "selinux" || strings.HasPrefix(rest, "SMACK64") {
			return ""
		}
		return name
	case "system":
		if rest == "posix_acl_access" || rest == "posix_acl_default" {
			return name
		}
	}
	return ""
}
