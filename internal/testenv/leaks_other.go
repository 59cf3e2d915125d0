//go:build !linux

package testenv

import "os"

func systemKinds() []kind { return nil }

func adoptOrphans() {}

type child struct{ pid int }

func childProcesses() []child { return nil }

func reap(map[int]bool) []string { return nil }

func killChildren(map[int]bool) {}

func removeTmp(tmp string) error { return os.RemoveAll(tmp) }
