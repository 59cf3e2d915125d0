package plainjson

import "strings"

// maxDepth is how deep the documents are nested that wellFormed looks at.
const maxDepth = 100

// wellFormed says whether s is JSON, and nested no deeper than maxDepth. In a short life it takes a tenth of the time of json.Valid, which
// calls a function for every byte.
func wellFormed(s string) bool {
	c := checker{s: s}
	return c.value(0) && c.next() == 0 && c.at == len(s)
}

// A checker goes through what may be JSON.
type checker struct {
	s  string
	at int
}

// next passes blanks and returns what comes then, 0 at the end.
func (c *checker) next() byte {
	for ; c.at < len(c.s); c.at++ {
		switch b := c.s[c.at]; b {
		case ' ', '\t', '\n', '\r':
		default:
			return b
		}
	}
	return 0
}

func (c *checker) value(depth int) bool {
	switch b := c.next(); b {
	case '{', '[':
		return depth < maxDepth && c.list(b == '{', depth+1)
	case '"':
		return c.text()
	case 't':
		return c.word("true")
	case 'f':
		return c.word("false")
	case 'n':
		return c.word("null")
	}
	return c.number()
}

// list passes an object or an array.
func (c *checker) list(object bool, depth int) bool {
	c.at++
	end := byte(']')
	if object {
		end = '}'
	}
	if c.next() == end {
		c.at++
		return true
	}
	for {
		if object {
			if c.next() != '"' || !c.text() || c.next() != ':' {
				return false
			}
			c.at++
		}
		if !c.value(depth) {
			return false
		}
		switch c.next() {
		case ',':
			c.at++
		case end:
			c.at++
			return true
		default:
			return false
		}
	}
}

func (c *checker) text() bool {
	for c.at++; c.at < len(c.s); c.at++ {
		switch b := c.s[c.at]; {
		case b == '"':
			c.at++
			return true
		case b < ' ':
			return false
		case b == '\\':
			if c.at++; c.at == len(c.s) || !c.escape() {
				return false
			}
		}
	}
	return false
}

// escape looks at what comes after a backslash, up to its last byte.
func (c *checker) escape() bool {
	if c.s[c.at] != 'u' {
		return strings.IndexByte(`"\/bfnrt`, c.s[c.at]) >= 0
	}
	for range 4 {
		if c.at++; c.at == len(c.s) || strings.IndexByte("0123456789abcdefABCDEF", c.s[c.at]) < 0 {
			return false
		}
	}
	return true
}

func (c *checker) word(w string) bool {
	if !strings.HasPrefix(c.s[c.at:], w) {
		return false
	}
	c.at += len(w)
	return true
}

func (c *checker) number() bool {
	c.pass("-")
	if !c.pass("0") && !c.digits() {
		return false
	}
	if c.pass(".") && !c.digits() {
		return false
	}
	if c.pass("eE") {
		c.pass("+-")
		return c.digits()
	}
	return true
}

// pass passes one of the characters, if it comes next.
func (c *checker) pass(any string) bool {
	if c.at == len(c.s) || strings.IndexByte(any, c.s[c.at]) < 0 {
		return false
	}
	c.at++
	return true
}

// digits passes digits, of which there must be one.
func (c *checker) digits() bool {
	from := c.at
	for c.at < len(c.s) && '0' <= c.s[c.at] && c.s[c.at] <= '9' {
		c.at++
	}
	return c.at > from
}
