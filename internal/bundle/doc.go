// Package bundle reads OCI bundles: a folder with a config.json, as the OCI runtime specification 1.3 describes it, and
// translates them into what package namespace starts and package cgroups limits. It starts nothing itself.
//
// Nothing is added to what the configuration says but what the specification asks of every runtime: the default devices
// and links of /dev. An error names the field by its path in config.json: "linux.resources.memory.limit".
package bundle
