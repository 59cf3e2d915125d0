package layer

import (
	"context"
	"fmt"
	"os"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// adder is a program that adds and removes a layer until it is killed: "adder STORE TAR...". With "once" before the
// store it adds each once; with "erofs" it keeps them as images.
const adder = "layer-adder"

var programs = map[string]testenv.Program{adder: func(args []string) int {
	once := args[1] == "once"
	if once {
		args = args[1:]
	}
	format := Folder
	if args[1] == EROFS.String() {
		format, args = EROFS, args[1:]
	}
	for {
		if err := addAll(args[1], format, args[2:], once); err != nil {
			fmt.Println(err)
			return 1
		}
		if once {
			return 0
		}
	}
}}

func addAll(dir string, format Format, archives []string, keep bool) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	if err := s.Use(format); err != nil {
		return err
	}
	ctx := context.Background()
	var pending []*Pending
	for _, name := range archives {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		p, err := s.Extract(ctx, f, nil)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		pending = append(pending, p)
	}
	layers, err := s.Commit(ctx, pending...)
	if err != nil || keep {
		return err
	}
	for _, l := range layers {
		if err := s.Remove(ctx, l.DiffID); err != nil {
			return err
		}
	}
	return nil
}
