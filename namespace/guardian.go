package namespace

// A Ward is a container in the care of the guardian: a process of a few pages that kills it and removes its control
// group when this program ends, by SIGKILL too. PR_SET_PDEATHSIG would not do: the container's processes can clear it,
// a change of credentials does, and it looks at the thread that started them, not at the program.
//
// There is one guardian for all wards of a program. It starts with the first Register and lives as long as the
// program. It is no child of the program, holds none of its files or mounts, and has a session of its own.
type Ward struct {
	// Folders are the directories of the container's control group, each after those below it, as [cgroups.Group.Paths]
	// gives them. All processes in those that have none of the others below them are killed; then the folders are
	// removed, if they are empty by then. At most 64, and some 7 KB together.
	//
	// [cgroups.Group.Paths]: https://pkg.go.dev/github.com/caisson-engine/caisson/cgroups#Group.Paths
	Folders []string

	slot    int
	active  bool
	process *Process
}

// maxWardFolders and wardSize bound a ward's record in the table that the guardian reads.
const (
	maxWardFolders = 64
	wardSize       = 8192
)
