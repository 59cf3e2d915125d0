//go:build !linux

package network

import "github.com/caisson-engine/caisson/internal/testenv"

var programs = map[string]testenv.Program{}
