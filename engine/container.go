package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/network"
)

// A Status is where a container is in its life.
type Status string

// The statuses, in Docker's words.
const (
	Created Status = "created"
	Running Status = "running"
	Exited  Status = "exited"
	// Dead is one whose document cannot be read: nothing but its ID and name is known, and it can only be removed.
	Dead Status = "dead"
)

// A Container is what the engine knows of one container at one moment: the document that it keeps on disk.
type Container struct {
	// ID is 64 hexadecimal digits. Name is unique among the engine's containers.
	ID, Name string
	Created  time.Time
	Config   Config
	State    State

	// ImageID is the digest of the image's configuration.
	ImageID digest.Digest
	// What follows is Config and the image's configuration put together.
	Args       []string
	Env        []string
	Dir        string
	User       string
	Hostname   string
	StopSignal int
	// Exposed are the ports that the image or Config exposes or publishes: "80/tcp".
	Exposed []string `json:",omitempty"`
	// LinkEnv is what its Links added to Env at its last start.
	LinkEnv []string `json:",omitempty"`
	// Healthcheck is nil without one. Shell executes a line of it; nil is /bin/sh -c.
	Healthcheck *image.Healthcheck `json:",omitempty"`
	Shell       []string           `json:",omitempty"`
	Labels      map[string]string  `json:",omitempty"`
	Mounts      []Mount            `json:",omitempty"`
	// AnonymousVolumes were made for this container and go with it.
	AnonymousVolumes []string `json:",omitempty"`
	// UIDMappings and GIDMappings are those of its user namespace, if it has one of its own: see [Isolation].UserMode.
	UIDMappings []container.IDMapping `json:",omitempty"`
	GIDMappings []container.IDMapping `json:",omitempty"`
	// Networks are what it is connected to when it starts, and Ports are published then.
	Networks []Connection   `json:",omitempty"`
	Ports    []network.Port `json:",omitempty"`
	// RestartCount is how often its restart policy has had it started again since it was started otherwise.
	RestartCount int `json:",omitempty"`
	// Endpoints are its interfaces, while it runs.
	Endpoints []network.Endpoint `json:",omitempty"`
	// Gateway is what "host-gateway" stood for in Config.ExtraHosts at its last start.
	Gateway netip.Addr `json:",omitzero"`
}

// A State is a container's status and what came of it.
type State struct {
	Status Status
	// Pid is the command's process as the host sees it, while it runs.
	Pid int `json:",omitempty"`
	// StartTime and BootID tell the process from a later one of the same number.
	StartTime uint64 `json:",omitempty"`
	BootID    string `json:",omitempty"`
	// Cgroups are the control groups' folders while it runs.
	Cgroups []string `json:",omitempty"`
	// Paused says that its processes are held, while it runs: see [Engine.Pause]. It is looked up, not remembered.
	Paused bool `json:",omitempty"`
	// Health is what its health check has found since its last start, nil without one. It is looked up, not remembered.
	Health *Health `json:",omitempty"`
	// Detached says that it outlives the program that started it, and has a log.
	Detached bool `json:",omitempty"`
	// Shared says that it runs in the foreground of a program that keeps its log and lets others take part in it: see StartOptions.
	Shared bool `json:",omitempty"`
	// Supervised says that its networks are served by a supervisor: see [Engine.Supervise].
	Supervised bool `json:",omitempty"`
	// Restarting says that it has ended, and its restart policy has it started again, RestartDelay after its end: see [RestartPolicy].
	Restarting   bool          `json:",omitempty"`
	RestartDelay time.Duration `json:",omitempty"`
	// ExitCode as a shell gives it: 128 and more for a signal. OOMKilled says that the kernel killed for want of memory.
	ExitCode  int
	OOMKilled bool `json:",omitempty"`
	// Error says why it did not start, or how its end was found if not by waiting.
	Error             string `json:",omitempty"`
	Started, Finished time.Time
	// LogStart is where in its log begins what [Engine.LogSinceStart] opens.
	LogStart namespace.LogPosition `json:",omitzero"`
}

// Kept says that it has a log, and while it runs can be adopted.
func (s *State) Kept() bool { return s.Detached || s.Shared }

// ShortID returns the first twelve digits of the ID.
func (c *Container) ShortID() string { return shortID(c.ID) }

func shortID(id string) string { return id[:min(12, len(id))] }

// String returns the status as Docker's ps shows it: "Up 2 minutes (healthy)", "Exited (0) 3 hours ago", "Created".
func (s *State) String() string {
	switch s.Status {
	case Running:
		up := "Up " + Ago(time.Since(s.Started))
		switch {
		case s.Paused:
			up += " (Paused)"
		case s.Health != nil && s.Health.Status == Starting:
			up += " (health: starting)"
		case s.Health != nil:
			up += " (" + string(s.Health.Status) + ")"
		}
		return up
	case Exited:
		if s.Restarting {
			return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, Ago(time.Since(s.Finished)))
		}
		return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, Ago(time.Since(s.Finished)))
	}
	if s.Status == Dead {
		return "Dead"
	}
	return "Created"
}

// Ago puts a duration into words, as Docker does: "Less than a second", "About a minute", "3 days".
func Ago(d time.Duration) string {
	seconds, minutes, hours := int(d.Seconds()), int(d.Minutes()), int(d.Hours()+0.5)
	switch {
	case seconds < 1:
		return "Less than a second"
	case seconds == 1:
		return "1 second"
	case seconds < 60:
		return fmt.Sprintf("%d seconds", seconds)
	case minutes == 1:
		return "About a minute"
	case minutes < 60:
		return fmt.Sprintf("%d minutes", minutes)
	case hours == 1:
		return "About an hour"
	case hours < 48:
		return fmt.Sprintf("%d hours", hours)
	case hours < 24*7*2:
		return fmt.Sprintf("%d days", hours/24)
	case hours < 24*30*2:
		return fmt.Sprintf("%d weeks", hours/24/7)
	case hours < 24*365*2:
		return fmt.Sprintf("%d months", hours/24/30)
	}
	return fmt.Sprintf("%d years", hours/24/365)
}
