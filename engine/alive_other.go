//go:build !unix

package engine

import "os"

func alive(*os.Process) bool { return false }
