//go:build !linux

package container_test

import "github.com/caisson-engine/caisson/internal/testenv"

var programs map[string]testenv.Program

func warmGuardian() error { return nil }

func warmUp() error { return nil }
