package namespace

import (
	"context"
	"errors"
	"os"

	"github.com/caisson-engine/caisson/internal/kernel"
)

// bornElsewhere says that a process cannot be made in the control group that it is to be in: it enters it as its first act.
func (l *Launch) bornElsewhere() bool {
	return (l.CgroupDir != nil || l.Keep != nil && l.Keep.CgroupDir != nil) && kernel.Clone3.Err() != nil
}

// startByTasks starts the process, and its keeper, in the program's group, from which they enter their own.
func (l *Launch) startByTasks(ctx context.Context) (*Process, error) {
	own, open := *l, []*os.File(nil)
	defer func() { closeFiles(open...) }()
	err := enterByTasks(&own.CgroupDir, &own.CgroupTasks, &open)
	if l.Keep != nil {
		k := *l.Keep
		own.Keep, err = &k, errors.Join(err, enterByTasks(&k.CgroupDir, &k.CgroupTasks, &open))
	}
	if err != nil {
		return nil, err
	}
	return own.Start(ctx)
}
