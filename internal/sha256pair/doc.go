// Package sha256pair writes to two SHA-256 hashes at a time. A processor's instructions for SHA-256 each wait for the one
// before, and between those of one stream there is room for those of another: two take as long as one.
package sha256pair
