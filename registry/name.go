package registry

import "strings"

const (
	maxRepositoryLength = 255
	maxTagLength        = 128
)

func isLowerDigit(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
func isAlphanumeric(c byte) bool {
	return isLowerDigit(c) || c >= 'A' && c <= 'Z'
}

// isHex says whether s is n lower-case hexadecimal digits.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// validRepository checks the grammar of <name> in the distribution specification: components of lower-case letters and
// digits, joined inside by one dot, one or two underscores, or dashes. Nothing that passes leads out of a folder.
func validRepository(s string) bool {
	if len(s) > maxRepositoryLength {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if !validComponent(part) {
			return false
		}
	}
	return true
}

func validComponent(s string) bool {
	if s == "" || !isLowerDigit(s[0]) || !isLowerDigit(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if isLowerDigit(s[i]) {
			i++
			continue
		}
		start := i
		for i < len(s) && !isLowerDigit(s[i]) {
			i++
		}
		switch sep := s[start:i]; {
		case sep == ".", sep == "_", sep == "__", strings.Trim(sep, "-") == "":
		default:
			return false
		}
	}
	return true
}

// validTag checks the grammar [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
func validTag(s string) bool {
	if s == "" || len(s) > maxTagLength || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// validHost checks a host name, IPv4 address or bracketed IPv6 address, and an optional port of digits.
func validHost(s string) bool {
	if strings.HasPrefix(s, "[") {
		address, port, ok := strings.Cut(s[1:], "]")
		return ok && address != "" && strings.Trim(address, "0123456789abcdefABCDEF:") == "" &&
			(port == "" || port[0] == ':' && isDigits(port[1:]))
	}
	name, port, hasPort := strings.Cut(s, ":")
	if hasPort && !isDigits(port) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || !isAlphanumeric(label[0]) || !isAlphanumeric(label[len(label)-1]) {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isAlphanumeric(c) && c != '-' {
				return false
			}
		}
	}
	return true
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// printable makes foreign text fit for an error message: no control characters, which a terminal would obey, and no
// more than 512 bytes.
func printable(s string) string {
	const limit = 512
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
