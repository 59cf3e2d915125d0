package container

import (
	"errors"
	"fmt"
)

// explainOOM adds to the error of a start that the OOM killer came, if it did.
func (c *Container) explainOOM(err error) error {
	var e *StartError
	if !errors.As(err, &e) || c.oomKills() == 0 {
		return err
	}
	limit := ""
	if c.Memory != 0 {
		limit = fmt.Sprintf(": the control group has a limit of %d bytes", c.Memory)
	}
	return &StartError{Step: e.Step, Path: e.Path, Err: fmt.Errorf("%w; the OOM killer came%s", e.Err, limit)}
}
