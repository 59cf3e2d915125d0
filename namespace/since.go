package namespace

import (
	"errors"
	"strings"
)

// since are the versions of Linux that calls which a start cannot do without came with.
func since() map[string]string {
	return map[string]string{
		"open_tree": "5.2", "move_mount": "5.2", "fsopen": "5.2", "fsconfig": "5.2", "fsmount": "5.2", "pidfd_open": "5.3", "openat2": "5.6",
		"pidfd_getfd": "5.6", "close_range": "5.9",
	}
}

// sinceHint names the version that has the call which is missing.
func sinceHint(e *StartError) string {
	if !errors.Is(e.Err, errors.ErrUnsupported) {
		return ""
	}
	for _, word := range strings.FieldsFunc(string(e.Step)+" "+e.Path+" "+e.Err.Error(), func(r rune) bool { return r == ' ' || r == ':' }) {
		if v := since()[word]; v != "" {
			return " (" + word + " takes Linux ≥ " + v + ", and no filter that hides it)"
		}
	}
	return ""
}
