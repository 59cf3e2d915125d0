// Package helloworld makes the image hello-world, byte by byte, in Go: a static program for linux/amd64 and linux/arm64
// that prints a greeting, the layer that holds it, and the OCI index above. Nothing of it is compiled elsewhere or
// downloaded, and the same source gives the same digests on every machine.
//
// The image is data only ([New]); whoever serves it puts it into a registry.
package helloworld
