//go:build !linux

package usernet

import "github.com/caisson-engine/caisson/internal/testenv"

var programs = map[string]testenv.Program{}
