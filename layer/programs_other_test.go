//go:build !linux

package layer

import "github.com/caisson-engine/caisson/internal/testenv"

var programs = map[string]testenv.Program{}
