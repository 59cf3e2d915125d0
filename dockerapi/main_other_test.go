//go:build !linux

package dockerapi

func warmUp() {}
