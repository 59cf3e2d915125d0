// Package plainjson decodes JSON quickly where a program lives for a few milliseconds. Before encoding/json decodes the first byte,
// it looks at all types that a value could hold and builds encoders for them: for an OCI configuration that is a tenth of the time of
// a whole `minirunc run`, and most of the memory.
//
// [Unmarshal] has encoding/json look whether a document is well-formed, and so needs to find only what is where in one that is.
// What is not plain it leaves to encoding/json whole, and with that all errors. A fuzz target compares the two.
package plainjson
