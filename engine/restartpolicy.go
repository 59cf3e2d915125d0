package engine

import (
	"strconv"
	"strings"
	"time"
)

// The names of restart policies.
const (
	RestartNo            = "no"
	RestartOnFailure     = "on-failure"
	RestartAlways        = "always"
	RestartUnlessStopped = "unless-stopped"
)

// A RestartPolicy says whether a container that was started with StartOptions.Detach is started again when it has ended. That is the
// supervisor's to do: see [Engine.Supervise]. It waits 100 ms before the first time, and twice as long each further time, up to a minute;
// the first time is again after a run of 10 s or more. A container that cannot be started again stays as it is.
//
// One that [Engine.Stop], or [Engine.Kill] with a signal that asks to end (SIGKILL, SIGTERM, SIGINT, SIGQUIT, its stop signal), was
// called for stays ended until it is started by [Engine.Start] or [Engine.Restart].
type RestartPolicy struct {
	// Name is [RestartNo], which "" stands for; [RestartOnFailure], when the exit code is not 0; [RestartAlways] or
	// [RestartUnlessStopped]. The last two are the same: Docker's differ in what its daemon's start does with a container that was
	// stopped, and here no daemon starts.
	Name string
	// MaximumRetryCount is how often a container with RestartOnFailure is started again. Zero is no bound.
	MaximumRetryCount int `json:",omitempty"`
}

// ParseRestartPolicy parses Docker's --restart: "no", "always", "unless-stopped", "on-failure" or "on-failure:3".
func ParseRestartPolicy(s string) (RestartPolicy, error) {
	name, count, counted := strings.Cut(s, ":")
	p := RestartPolicy{Name: name}
	if counted {
		n, err := strconv.Atoi(count)
		if err != nil {
			return p, invalid("invalid restart policy format: maximum retry count must be an integer")
		}
		p.MaximumRetryCount = n
	}
	return p, p.check()
}

func (p RestartPolicy) check() error {
	switch p.Name {
	case RestartAlways, RestartUnlessStopped, RestartNo, "":
		if p.MaximumRetryCount != 0 {
			return invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'")
		}
	case RestartOnFailure:
		if p.MaximumRetryCount < 0 {
			return invalid("invalid restart policy: maximum retry count cannot be negative")
		}
	default:
		return invalid("invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'", p.Name)
	}
	return nil
}

func (p RestartPolicy) is() bool { return p.Name != "" && p.Name != RestartNo }

// wants says whether a container that ended with the code, and was started again so often, is to be once more.
func (p RestartPolicy) wants(code, count int) bool {
	switch p.Name {
	case RestartAlways, RestartUnlessStopped:
		return true
	case RestartOnFailure:
		return code != 0 && (p.MaximumRetryCount == 0 || count < p.MaximumRetryCount)
	}
	return false
}

func (cfg *Config) checkRestart() error {
	if err := cfg.RestartPolicy.check(); err != nil {
		return err
	}
	if cfg.RestartPolicy.is() && cfg.AutoRemove {
		return invalid("can't create 'AutoRemove' container with restart policy")
	}
	return nil
}

const (
	firstRestartDelay = 100 * time.Millisecond
	lastRestartDelay  = time.Minute
	longRun           = 10 * time.Second // after which the first delay is the next again
)

// restartDelay is how long to wait after a run that was waited for so long.
func restartDelay(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= longRun {
		return firstRestartDelay
	}
	return min(2*last, lastRestartDelay)
}
