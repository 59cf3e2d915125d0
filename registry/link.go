package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const maxLinkLength = 8 << 10 // bytes of one Link header

// nextLink returns the address with relation "next" in the Link headers (RFC 8288), resolved against base; nil when
// there is none. One that leads to another origin is an error: paging never leaves the registry.
func nextLink(h http.Header, base *url.URL) (*url.URL, error) {
	for _, s := range h.Values("Link") {
		target, ok, err := parseNextLink(s)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		u, err := base.Parse(target)
		if err != nil {
			return nil, errors.New("header Link holds no URL")
		}
		if !sameOrigin(u, base) {
			return nil, fmt.Errorf("header Link leads to another origin, %s", printable(u.Host))
		}
		return u, nil
	}
	return nil, nil
}

// parseNextLink finds the first link whose rel holds "next" in one header's value.
func parseNextLink(s string) (target string, ok bool, err error) {
	malformed := errors.New("header Link is malformed")
	if len(s) > maxLinkLength {
		return "", false, malformed
	}
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return "", false, nil
		}
		if s[0] != '<' {
			return "", false, malformed
		}
		end := strings.IndexByte(s, '>')
		if end < 0 {
			return "", false, malformed
		}
		target, s = s[1:end], s[end+1:]
		next := false
		for {
			s = strings.TrimLeft(s, " \t")
			if !strings.HasPrefix(s, ";") {
				break
			}
			var key, value string
			if key, s = cutToken(strings.TrimLeft(s[1:], " \t")); key == "" {
				return "", false, malformed
			}
			s = strings.TrimLeft(s, " \t")
			if after, has := strings.CutPrefix(s, "="); has {
				if value, s, has = cutValueToSemicolon(strings.TrimLeft(after, " \t")); !has {
					return "", false, malformed
				}
			}
			if strings.EqualFold(key, "rel") {
				for rel := range strings.FieldsSeq(value) {
					next = next || strings.EqualFold(rel, "next")
				}
			}
		}
		if next {
			return target, true, nil
		}
		if s != "" && s[0] != ',' {
			return "", false, malformed
		}
	}
}

func cutValueToSemicolon(s string) (value, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		return cutValue(s)
	}
	i := strings.IndexAny(s, ",; \t\"")
	if i < 0 {
		i = len(s)
	}
	return s[:i], s[i:], i > 0
}

// sameOrigin says whether two URLs have the same scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}
