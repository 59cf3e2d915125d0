// Package treecopy makes a tar stream of a file or folder below a [Tree], and files of a stream below one. No name in a
// stream and no symbolic link in a tree leads out of it.
package treecopy
