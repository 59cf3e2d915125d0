// Package volume keeps named volumes: folders whose content outlives the containers that use it, and that several
// containers share.
//
//	store, err := volume.Open("/var/lib/myprogram/volumes")
//	v, err := store.Create("data", nil)
//	use, err := store.Acquire("data") // nobody removes it until use.Close
//	defer use.Close()
//	err = store.Populate(ctx, "data", root, "/var/lib/data") // the image's content, if the volume is empty
//	// bind-mount v.Path into the container
//	copy, err := store.Clone(ctx, "data", "data-before-upgrade", nil)
//
// On disk, a store is a folder that only its owner may enter:
//
//	<name>/volume.json   the volume's name, labels, time of creation
//	<name>/data/         the content
//	<name>/use           locked, shared, by those who use the volume
//	<name>/populate      locked while content is copied up; fill and filling are its folders
//	.quota               locked while a project of the file system's quotas is chosen
//	.lock                locked for the moment in which a volume appears, vanishes or is taken into use
//	.tmp/                volumes half made or half deleted
//
// Several processes may use one store at once, and each may be killed at any time: the next [Open] deletes what it left
// in .tmp, and the next [Store.Populate] goes on where it stopped. Locks are flock(2) and end with their process.
//
// It needs Linux 5.6, and root to keep owners and devices when content is copied up.
package volume
