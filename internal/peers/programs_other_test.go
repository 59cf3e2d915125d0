//go:build !linux

package peers

import "github.com/caisson-engine/caisson/internal/testenv"

func helperPrograms() map[string]testenv.Program { return nil }
