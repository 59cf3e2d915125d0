package layer

import "github.com/caisson-engine/caisson/namespace"

// DiffOptions are the options of [Diff].
type DiffOptions struct {
	// Lower is the folder to compare with. "" means that there is none: the folder given to Diff is what an overlay
	// keeps its changes in.
	Lower string

	// UserXattr says that the overlay was mounted with the option userxattr, and marks whiteouts and opaque folders by
	// attributes of the class user instead of trusted. It must be false when Lower is set.
	UserXattr bool

	// UIDMappings and GIDMappings are those that an ordinary user's program gave [Mount] for a copy, of which both the folder
	// given to Diff and Lower are. Root's program needs none.
	UIDMappings, GIDMappings []namespace.IDMapping
}
