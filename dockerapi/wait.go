package dockerapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/caisson-engine/caisson/engine"
)

// waitContainer answers when a container has ended, does so the next time, or is removed. The answer's head is sent at once: a client starts
// the container when it has it.
func (s *Server) waitContainer(w http.ResponseWriter, r *http.Request) error {
	condition := container.WaitCondition(cmp.Or(queryOf(r).Get("condition"), string(container.WaitConditionNotRunning)))
	switch condition {
	case container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved:
	default:
		return badRequest("invalid condition: %q", condition)
	}
	events, err := s.Engine.OpenEvents(time.Time{}) // before it is looked at: nothing is missed
	if err != nil {
		return err
	}
	defer events.Close()
	c, err := s.Engine.Inspect(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	to := stream(w, "application/json")
	code, ended := c.State.ExitCode, condition == container.WaitConditionNotRunning && c.State.Status != engine.Running
	// Whoever waits for a container in background writes its end down, if nobody else does: the folder may have no supervisor.
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	watch := func() { watching.Go(func() { _, _ = s.Engine.WaitFor(ctx, c.ID) }) }
	if !ended && c.State.Status == engine.Running {
		watch()
	}
	for !ended {
		ev, err := events.Next(ctx)
		if err != nil {
			return err
		}
		if ev.ID != c.ID || ev.Type != engine.ContainerEvent {
			continue
		}
		switch ev.Action {
		case "start":
			watch()
		case "die":
			if n, err := strconv.Atoi(ev.Attributes["exitCode"]); err == nil {
				code = n
			} else if now, err := s.Engine.Inspect(r.Context(), c.ID); err == nil { // the event was too long
				code = now.State.ExitCode
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			ended = condition != container.WaitConditionRemoved
		case "destroy":
			ended = true
		}
	}
	return json.NewEncoder(to).Encode(&container.WaitResponse{StatusCode: int64(code)})
}
