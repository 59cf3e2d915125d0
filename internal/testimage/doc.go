// Package testimage makes small OCI images for tests, from Go values and from the machine's static busybox. An image is
// data; the test puts it where it wants it.
package testimage
