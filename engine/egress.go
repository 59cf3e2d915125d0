package engine

import (
	"encoding/json"
	"errors"
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

// checkEgressAlone refuses names in the allow-list of a container that outlives its resolver.
func (r *Run) checkEgressAlone() error {
	cfg := &r.record.Config
	if cfg.EgressLog != "" {
		return fmt.Errorf("egress log: not implemented for a container in background: %w", errors.ErrUnsupported)
	}
	if cfg.Egress == nil {
		return nil
	}
	for _, rule := range cfg.Egress.Allow {
		if rule.Name != "" {
			return fmt.Errorf("egress %s: names are not implemented for a container in background: %w", rule, errors.ErrUnsupported)
		}
	}
	return nil
}

// audit returns what is called with the container's attempts: the function of the options, and one that writes lines of JSON.
func (r *Run) audit() (func(network.Attempt), error) {
	told, path := r.audited, r.record.Config.EgressLog
	if path == "" {
		return told, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("egress log: %w", err)
	}
	r.egressLog = f
	var once sync.Once
	return func(a network.Attempt) {
		line, err := json.Marshal(a)
		if err == nil {
			_, err = f.Write(append(line, '\n'))
		}
		if err != nil {
			once.Do(func() { r.e.log.Warn("egress log", "id", r.record.ID, "path", path, "error", err) })
		}
		if told != nil {
			told(a)
		}
	}, nil
}

func (r *Run) closeEgressLog() error {
	if r.egressLog == nil {
		return nil
	}
	err := r.egressLog.Close()
	r.egressLog = nil
	return err
}
