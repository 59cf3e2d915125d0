//go:build !linux

package testenv

func kernelVersion() (major, minor int) { return 0, 0 }
