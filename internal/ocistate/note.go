package ocistate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// processFile has the process of a container that is being made and has no control group by which it would be found.
const processFile = "process.json"

// NoteProcess notes the first process of a container without a control group, before it is saved: by this a process that a
// killed command has left is ended.
func (f *Folder) NoteProcess(pid int) error {
	s := &State{BootID: bootID()}
	var err error
	s.InitProcessPid = pid
	if s.InitProcessStart, err = StartTime(pid); err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return f.WriteFile(processFile, b)
}

// KillNoted ends the process that NoteProcess noted, if it runs, and waits for its end until ctx ends.
func (f *Folder) KillNoted(ctx context.Context) error {
	b, err := readFile(f.Path(processFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s := &State{}
	if err := json.Unmarshal(b, s); err != nil {
		return fmt.Errorf("%s: %w", f.Path(processFile), err)
	}
	err = s.Signal(syscall.SIGKILL)
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.Wait(ctx)
}
