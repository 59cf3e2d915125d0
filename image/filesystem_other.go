//go:build !unix

package image

func sameFileSystem(string, string) bool { return false }
