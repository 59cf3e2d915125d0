package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// signals hands the signals that the command gets to the container, once there is one, those that came before too. Without a
// container the usual ones end the command's context.
type signals struct {
	mu      sync.Mutex
	forward func(os.Signal)
	early   []os.Signal // what came before forward was set
	got     os.Signal   // what ended the context
}

// catchSignals starts catching signals and sets the app's context.
func (a *app) catchSignals() (restore func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	a.ctx = ctx
	c := make(chan os.Signal, 16)
	for _, s := range forwarded {
		if !signal.Ignored(s) { // nohup
			signal.Notify(c, s)
		}
	}
	// A broken pipe is the error of a write, not the end of this program: what it holds is to be released.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range c {
			a.signals.handle(s, cancel)
		}
	}()
	return func() {
		signal.Stop(c)
		signal.Stop(pipe)
		close(c)
		<-done
		cancel(nil)
	}
}

func (s *signals) handle(sig os.Signal, cancel context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forward != nil {
		s.forward(sig)
		return
	}
	if len(s.early) < 16 {
		s.early = append(s.early, sig)
	}
	if ends(sig) {
		s.got = sig
		cancel(fmt.Errorf("stopped by signal: %v", sig))
	}
}

// to makes f get the signals from now on; nil ends that.
func (s *signals) to(f func(os.Signal)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forward = f
	for _, sig := range s.early {
		if f != nil {
			f(sig)
		}
	}
	s.early = nil
}

// status returns the exit status for a command that a signal stopped, or 0 if none did.
func (s *signals) status() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.got.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 0
}

func ends(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGTERM || s == syscall.SIGHUP
}
