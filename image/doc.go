// Package image pulls container images and keeps them in a folder that other programs read too.
//
// The smallest use:
//
//	store, err := image.Open("/var/lib/myprogram")
//	img, err := image.Pull(ctx, store, "alpine:3.22", nil)
//	root, err := layer.Mount(ctx, img.Layers, nil)
//
// # What is on disk
//
// Below the folder given to [Open]:
//
//	images/oci-layout, index.json, blobs/   an OCI image layout (image-spec v1.1, image-layout.md)
//	images/tmp/                             blobs not yet whole, and their locks
//	images/leases/                          what pulls and holders use now, each file locked by its user
//	images/uploads/, pushed/                what is pushed here, and the blobs that a manifest has yet to come for ([Served])
//	images/lock                             the lock of index.json and of deletion
//	layers/                                 the extracted layers, package layer's
//
// index.json has one entry a name, the full name in the annotation org.opencontainers.image.ref.name, so that
//
//	skopeo inspect oci:/var/lib/myprogram/images:docker.io/library/alpine:latest
//	skopeo copy docker://… oci:/var/lib/myprogram/images:docker.io/library/alpine:latest
//
// work on the folder as it is. Short names that another program wrote ("alpine") are read by Docker's rules. An entry
// without a name is an image that lost its name to a newer one, or with the annotation io.caisson.build.step what a step of a
// build made. Of a multi-platform image the index is kept whole, and
// the manifests, configurations and layers of the platforms that were pulled. Blobs are kept as the registry sent them,
// compressed; each layer is also extracted once, under its diffID, for all the images that have it.
//
// # Several processes, crashes
//
// Any number of processes may use a folder. What is half done when one is killed or the power fails never shows: blobs
// and layers are made durable before the names in index.json that lead to them. A pull that was cut off is continued by
// the next one: blobs that were whole are not fetched again, layers that were extracted whole are not extracted again, and
// of a blob that was not whole the rest is asked for by a Range.
// Two pulls of the same layer at the same time fetch it once.
//
// It needs Linux; elsewhere [Open] returns an error that satisfies errors.Is(err, errors.ErrUnsupported).
package image
