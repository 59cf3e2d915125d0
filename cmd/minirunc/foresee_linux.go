package main

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/namespace"
)

// foresee begins to make what the start of a container takes whose configuration seems to ask for a network namespace, before that is
// parsed: both take half a millisecond, and there is another processor.
func (m *making) foresee(config []byte) {
	if bundle.SeemsNetworked(config) && namespace.Privileged() {
		m.prepared = namespace.Prepare(true)
	}
}

// prepareStart gives up what foresee has made for nothing, and begins what is to be made.
func (m *making) prepareStart() {
	b := m.bundle
	wanted := b.NewNamespace(specs.MountNamespace) && !b.HasNamespace(specs.UserNamespace) && namespace.Privileged()
	network := b.NewNamespace(specs.NetworkNamespace)
	if m.prepared != nil && !(wanted && network) {
		m.prepared.Close()
		m.prepared = nil
	}
	if m.prepared == nil && wanted {
		m.prepared = namespace.Prepare(network)
	}
}
