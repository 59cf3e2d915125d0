// Package layout holds no code, only tests of the module as a whole: who may import whom, what an import may do, what
// a package must have, and that DEPENDENCIES.md names the modules that are linked.
package layout
