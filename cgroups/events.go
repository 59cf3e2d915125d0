package cgroups

import "strconv"

// An EventKind says what happened in a group.
type EventKind int

// The kinds of events.
const (
	// OOM: the memory limit was reached and nothing could be reclaimed: a process is killed next, or an allocation fails.
	OOM EventKind = iota + 1
	// OOMKill: the OOM killer ended a process of the group, whichever limit or shortage was the reason.
	OOMKill
	// OOMGroupKill: it ended the whole group. On v2, Linux ≥ 5.17.
	OOMGroupKill
	// MemoryMax: the memory limit was reached, and memory reclaimed. On v2.
	MemoryMax
	// MemoryHigh: memory.high was reached, and the group slowed down. On v2.
	MemoryHigh
	// MemoryPressure: reclaim was about to fail (memory.pressure_level, critical). On v1.
	MemoryPressure
	// PidsMax: a fork failed because of the limit on processes.
	PidsMax
	// Populated and Empty: the group got its first process, or lost the last. Where there is a unified hierarchy.
	Populated
	Empty
	// Frozen and Thawed: all its processes are frozen, or no longer. Where there is a unified hierarchy.
	Frozen
	Thawed
)

var eventKinds = [...]string{"", "oom", "oom-kill", "oom-group-kill", "memory-max", "memory-high", "memory-pressure",
	"pids-max", "populated", "empty", "frozen", "thawed"}

// String returns the kind in lower case with hyphens, "oom-kill".
func (k EventKind) String() string {
	if k <= 0 || int(k) >= len(eventKinds) {
		return "event " + strconv.Itoa(int(k))
	}
	return eventKinds[k]
}

// An Event is something that happened in a group, or several times since the last Event of the kind.
type Event struct {
	Kind EventKind
	// Count is how often it has happened since the group was made: on v1 of OOM and MemoryPressure, since the Watch was.
	// Of Populated, Empty, Frozen and Thawed it is 0: they are states, and only the latest is told.
	Count uint64
}

// String returns the kind and, if there is one, the count: "oom-kill 2".
func (e Event) String() string {
	if e.Count == 0 {
		return e.Kind.String()
	}
	return e.Kind.String() + " " + strconv.FormatUint(e.Count, 10)
}
