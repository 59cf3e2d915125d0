// Package registry speaks the OCI distribution protocol, version 1.1, from both sides.
//
// A [Client] asks registries for manifests, blobs and tags, and pushes; its zero value works. A [Server] is an
// http.Handler that serves and accepts images over a [Store]: in memory ([MemoryStore]), in a folder ([FolderStore]),
// or any content store that has the three methods. A [Reference] is an image's name as Docker reads it.
//
//	ref, err := registry.ParseReference("alpine:3.22")
//	var c registry.Client
//	desc, manifest, err := c.Manifest(ctx, ref)
//
// # What a registry is trusted with
//
// Nothing. Every answer is read up to a bound, every manifest and blob is verified against its digest, a document that
// could be read as an image and as an index is refused (CVE-2021-41190), a body that stalls is given up, and text
// that goes into an error message loses its control characters. Credentials go to the registry that they are for and
// to the token server that this registry itself named over a verified connection, to nobody else (CVE-2020-15157);
// they do not follow a redirect to another origin.
//
// # Why net/http alone
//
// The client stands on net/http, not on a registry library. Tried with oras-go v2.7: it adds 0.8 MB to a program that
// has net/http already and three modules, and of what it brings the parts wanted here (resuming a blob in mid-body,
// stall time-outs, mirrors, the http/https rules of Docker for loopback and insecure registries, the rules about
// who gets a credential) would have been written above it all the same. References are parsed by hand because
// distribution/reference compiles its regular expressions, about 3,600 allocations and milliseconds of start-up time,
// in every program that imports it; tests compare the two.
//
// The package needs no particular kernel, and only a FolderStore leaves something on disk.
package registry
