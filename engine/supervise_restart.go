package engine

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// A pending is a container that is to be started again, or is being started. cancel gives that up.
type pending struct{ cancel context.CancelFunc }

// restartLater starts a container again that is to be, when its moment has come. The caller is one for whom begin was true, or calls it
// before anybody else can.
func (s *supervisor) restartLater(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[id] != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	p := &pending{cancel}
	s.pending[id] = p
	s.watching.Go(func() {
		err := s.restart(ctx, id)
		halted := ctx.Err() != nil
		cancel()
		s.mu.Lock()
		if s.pending[id] == p {
			delete(s.pending, id)
		}
		s.mu.Unlock()
		s.notify()
		if err != nil && !halted && !errors.Is(err, fs.ErrNotExist) {
			s.e.log.Warn("container that was to be started again", "id", id, "error", err)
		}
	})
}

// forgetRestart ends the waiting for the moment to start a container again, and the start.
func (s *supervisor) forgetRestart(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pending[id]; p != nil {
		p.cancel()
		delete(s.pending, id)
	}
}

func (s *supervisor) restart(ctx context.Context, id string) error {
	for {
		c, err := s.e.load(ctx, id)
		if err != nil || !c.State.Restarting {
			return err
		}
		// The clock may have been set back.
		wait := min(time.Until(c.State.Finished.Add(c.State.RestartDelay)), c.State.RestartDelay)
		select {
		case <-ctx.Done():
			return nil
		case <-s.over:
			return nil
		case <-time.After(wait):
		}
		if !s.beginStart() {
			return nil
		}
		err = s.e.startAgain(ctx, id)
		s.starts.Done()
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Somebody else has started it, or is at it, or has told it to stay ended.
	}
}

// beginStart is false when no container is to be started any more. Otherwise the caller calls s.starts.Done.
func (s *supervisor) beginStart() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.over:
		return false
	default:
	}
	s.starts.Add(1)
	return true
}

// finishStarts waits for the starts that are under way. What waits for its moment is left to the next supervisor.
func (s *supervisor) finishStarts() {
	s.mu.Lock()
	close(s.over)
	s.mu.Unlock()
	t := time.AfterFunc(letGoTimeout, s.cancel)
	defer t.Stop()
	s.starts.Wait()
}
