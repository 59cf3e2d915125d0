package main

import (
	"fmt"
	"os"
)

// fail says why the command ends.
func (c *command) fail(err error) {
	w := c.stderr
	if c.log != "" {
		f, e := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_SYNC, 0o644)
		if e == nil {
			defer f.Close()
			fmt.Fprintf(f, "level=error msg=%q\n", err)
		}
	}
	fmt.Fprintf(w, "level=error msg=%q\n", err)
}
