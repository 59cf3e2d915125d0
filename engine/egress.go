package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/caisson-engine/caisson/network"
)

// checkEgress looks at the allow-list and its log. A list for a container without networks of its own would hold nowhere.
func (cfg *Config) checkEgress() error {
	if cfg.EgressLog != "" && !filepath.IsAbs(cfg.EgressLog) {
		return invalid("EgressLog: %q is no absolute path", cfg.EgressLog)
	}
	if cfg.Egress == nil {
		return nil
	}
	if cfg.Network == "host" || strings.HasPrefix(cfg.Network, "container:") {
		return invalid("conflicting options: egress and the network mode %s", cfg.Network)
	}
	return nil
}

// audit returns what is called with the container's attempts: the function told, and one that writes lines of JSON to the log, which is
// the caller's to close.
func (e *Engine) audit(rec *Container, told func(network.Attempt)) (func(network.Attempt), *os.File, error) {
	path := rec.Config.EgressLog
	if path == "" {
		return told, nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("egress log: %w", err)
	}
	var once sync.Once
	return func(a network.Attempt) {
		line, err := json.Marshal(a)
		if err == nil {
			_, err = f.Write(append(line, '\n'))
		}
		if err != nil {
			once.Do(func() { e.log.Warn("egress log", "id", rec.ID, "path", path, "error", err) })
		}
		if told != nil {
			told(a)
		}
	}, f, nil
}
