// Package word looks at names and values that consist of certain characters. Package regexp could do that, too, but costs each program
// that is started anew for every container a tenth of a millisecond before its main begins.
package word

import "strings"

// Is says whether s is not empty and consists of ASCII letters, digits, the characters of anywhere, and, but for its first and last
// one, those of inside.
func Is(s, anywhere, inside string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(anywhere, c) >= 0:
		case i > 0 && i < len(s)-1 && strings.IndexByte(inside, c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// Number says whether s consists of ASCII digits, at least one.
func Number(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
