// Package pattern has regular expressions that cost nothing until they are used: a program that imports a package with some,
// and starts a thousand times a minute, does not compile them each time.
package pattern

import (
	"regexp"
	"sync"
)

// Match returns a function that says whether a string matches expr, which is compiled when it is first called. It panics then
// if expr is none.
func Match(expr string) func(string) bool {
	re := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
	return func(s string) bool { return re().MatchString(s) }
}
