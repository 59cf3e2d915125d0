// Package sigpipe catches all signals of a program that passes them on, at once. With os/signal, Go's runtime tells a thread of its
// own of each of them, and waits: for all of them that takes a millisecond, a seventh of the time of a whole `minirunc run`.
package sigpipe
