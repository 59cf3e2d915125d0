//go:build !linux

package hangup

func hungUp(uintptr) bool { return false }

func unread(uintptr) bool { return false }
