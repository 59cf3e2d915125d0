// Package layer keeps the layers of images on disk, each extracted once into a folder of its own, and mounts a list of
// them as one root file system.
//
// A layer comes as a tar stream, plain or compressed by gzip or zstd. [Store.Extract] reads it once: inflating, the
// digest of the inflated bytes (the diffID) and writing the files go side by side. Everything in the stream is taken
// as hostile: names are resolved below a directory descriptor, one component at a time, and never through a link that
// leads out of the layer; sizes and counts are bounded by [ExtractOptions].
//
//	store, err := layer.Open("/var/lib/myprogram/layers")
//	pending, err := store.Extract(ctx, stream, &layer.ExtractOptions{DiffID: diffID})
//	layers, err := store.Commit(ctx, pending) // several at once share one syncfs(2)
//	root, err := layer.Mount(ctx, layers, nil)
//	defer root.Close()
//
// What an image says is kept as it is, with these exceptions. Whiteouts become the character device 0:0 and the
// extended attribute trusted.overlay.opaque, which overlayfs understands. Extended attributes that overlayfs keeps for
// itself (trusted.overlay.* and user.overlay.*) are escaped as the kernel escapes them (trusted.overlay.overlay.*), so
// that an image cannot make a layer refer to another place; Linux 6.7 and newer show them in the container under their
// own names, older kernels hide them. Labels of the host's security module (security.selinux, security.SMACK64*) and
// extended attributes of unknown classes are left out.
//
// [Diff] is the way back: it writes a layer of what an overlay's upper folder holds, or of the difference of two trees, and
// [Archive] writes a whole tree.
//
// On disk, a store is a folder:
//
//	<algorithm>/<hex>/fs         the content, usable as a lower directory of an overlay; or
//	<algorithm>/<hex>/fs.erofs   the content as a file system: see [EROFS]
//	<algorithm>/<hex>/layer.json its sizes and counts
//	<algorithm>/<hex>/implied    the folders that the stream has no entry for
//	chains/<hex>/                the owners and modes that those folders would hide, for a list of layers
//	tmp/                         extractions under way, and what is being deleted
//	lock                         held while tmp is swept
//
// Several processes may use one store at once. What a killed process left in tmp is deleted by the next [Open].
//
// Root's program has all the capabilities that it takes (CAP_SYS_ADMIN, for trusted.* attributes and mounts; CAP_MKNOD;
// CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP). An ordinary user's has a [namespace.Deputy] in a user
// namespace do what it may not: files belong to the user's subordinate ids as the map of [namespace.OwnMappings] has it,
// and one that belongs to none of them is an error. If there is the user's own id only, all belongs to that, and who it is meant for is
// kept in the extended attribute user.rootlesscontainers. Device nodes and attributes of the class trusted are left out then, and
// overlayfs's marks are of the class user. A store is either root's or one user's.
//
// It takes Linux 5.10 with overlayfs, without root 5.11. Linux 6.8 and newer mount faster and without a size limit on the
// store's path.
package layer
