// Package plainjson decodes plain JSON fast where a program lives for a few milliseconds. encoding/json first looks at all types
// that a value could hold and builds encoders for them: of an OCI configuration that takes longer than all of the decoding.
//
// [Decode] is for what nearly all documents are, and gives up on the rest, which is left to encoding/json: so are errors, since
// it has none of its own. What it decodes is what encoding/json would; a fuzz target compares the two.
package plainjson
