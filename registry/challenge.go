package registry

import (
	"errors"
	"strings"
)

// A challenge is one authentication scheme that a WWW-Authenticate header offers (RFC 9110, section 11.6.1).
type challenge struct {
	scheme string            // in lower case
	params map[string]string // keys in lower case
}

const maxChallengeLength = 8 << 10 // bytes of one WWW-Authenticate header

var errChallenge = errors.New("header WWW-Authenticate is malformed")

// parseChallenges reads one WWW-Authenticate header, which may hold several challenges. What came before a malformed
// part is returned with the error.
func parseChallenges(s string) ([]challenge, error) {
	if len(s) > maxChallengeLength {
		return nil, errChallenge
	}
	var all []challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return all, nil
		}
		var word string
		if word, s = cutToken(s); word == "" {
			return all, errChallenge
		}
		rest := strings.TrimLeft(s, " \t")
		if value, ok := strings.CutPrefix(rest, "="); ok && len(all) > 0 {
			// A parameter of the challenge before.
			value, after, ok := cutValue(strings.TrimLeft(value, " \t"))
			if !ok {
				return all, errChallenge
			}
			key := strings.ToLower(word)
			if _, twice := all[len(all)-1].params[key]; twice {
				return all, errChallenge
			}
			all[len(all)-1].params[key] = value
			s = after
			continue
		}
		if s != "" && s[0] != ' ' && s[0] != '\t' && s[0] != ',' {
			return all, errChallenge
		}
		all = append(all, challenge{strings.ToLower(word), map[string]string{}})
		s = cutToken68(rest)
	}
}

// cutToken68 leaves out the bare base64 value that some schemes (Negotiate, NTLM) have in place of parameters.
func cutToken68(s string) string {
	word := strings.TrimLeft(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/")
	after := strings.TrimLeft(word, "=")
	if len(word) < len(s) && (after == "" || after[0] == ',') {
		return after
	}
	return s
}

func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && (isAlphanumeric(s[i]) || strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) >= 0) {
		i++
	}
	return s[:i], s[i:]
}

// cutValue takes a token or a quoted string off the front of s.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		// Some registries leave a URL unquoted: everything up to the comma is the value.
		i := strings.IndexAny(s, ", \t\"")
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], i > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
