// Package testenv is what the module's tests share: a TestMain that looks for leaks, root file systems made of the test
// binary itself, and the skips.
//
// The smallest use, in a package's main_test.go:
//
//	func TestMain(m *testing.M) {
//		testenv.Main(m, map[string]testenv.Program{
//			"echo": func(args []string) int { fmt.Println(strings.Join(args[1:], " ")); return 0 },
//		})
//	}
//
// A test then makes a root file system that holds /bin/echo with NewRootfs(t, "echo"), and runs it in a container.
//
// Leaks are looked for on Linux: descriptors, mounts, cgroups, network interfaces, child processes and files in the
// temporary folder. Goroutines are compared on every system. On other systems the package compiles, and its Require
// functions skip.
package testenv
