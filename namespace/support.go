package namespace

// A Support says whether the machine lets the program use a feature, and if not, why and what would help.
type Support struct {
	// Feature is its name: "containers", which is whether any can be started, "user namespaces", "ranges of ids", "idmapped mounts",
	// "time namespaces", "overlay".
	Feature string
	// Available says that it can be used. Otherwise Reason says what is in the way, and Fix what to do about it, if
	// anything can be done.
	Available   bool
	Reason, Fix string
}
