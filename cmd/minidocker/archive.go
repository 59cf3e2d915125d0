package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

func (a *app) saveCommand() *cobra.Command {
	var output, platform, format string
	c := &cobra.Command{
		Use:                   "save [OPTIONS] IMAGE [IMAGE...]",
		Short:                 "Save one or more images to a tar archive (streamed to STDOUT by default)",
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.output(output, func(w io.Writer) error {
					return e.Save(a.ctx, w, args, &image.SaveOptions{Platform: platform, Format: image.Format(format)})
				})
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	c.Flags().StringVar(&platform, "platform", "", "Save only the given platform of each image (os/arch[/variant])")
	c.Flags().StringVar(&format, "format", string(image.DockerArchive), "docker-archive (an OCI layout too) or oci-archive")
	return c
}

// output calls f with standard output, which must not be a terminal then, or with a new file, which takes the place of the
// one at path only when f returns without an error.
func (a *app) output(path string, f func(io.Writer) error) (err error) {
	if path == "" || path == "-" {
		if isTerminal(a.stdout) {
			return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
		}
		return f(a.stdout)
	}
	if fi, err := os.Stat(path); err == nil && !fi.Mode().IsRegular() { // a FIFO, /dev/null
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(f(w), w.Close())
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".minidocker-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	if err := errors.Join(f(tmp), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func (a *app) loadCommand() *cobra.Command {
	var input string
	var quiet bool
	o := &image.LoadOptions{}
	c := &cobra.Command{
		Use:                   "load [OPTIONS]",
		Short:                 "Load images from a tar archive or STDIN",
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.input(input, func(r io.Reader) error {
					list, err := e.Load(a.ctx, r, o)
					for _, l := range list {
						if l.Name == "" {
							say(a.stdout, "Loaded image ID: %s", l.ID)
						} else {
							say(a.stdout, "Loaded image: %s", registry.Familiar(l.Name))
						}
					}
					return err
				})
			})
		},
	}
	c.Flags().StringVarP(&input, "input", "i", "", "Read from a tar archive file, instead of STDIN")
	c.Flags().StringVar(&o.Platform, "platform", "", "Load only the given platform of each image (os/arch[/variant])")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress the load output (there is no progress to suppress)")
	return c
}

// input calls f with a file, or standard input when path is "" or "-".
func (a *app) input(path string, f func(io.Reader) error) error {
	if path == "" || path == "-" {
		if isTerminal(a.stdin) {
			return errors.New("requested load from stdin, but stdin is a terminal")
		}
		return f(a.stdin)
	}
	r, err := os.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	return f(r)
}

func (a *app) importCommand() *cobra.Command {
	o := &image.CommitOptions{}
	c := &cobra.Command{
		Use:                   "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
		Short:                 "Import the contents from a tarball to create a filesystem image",
		Args:                  cobra.RangeArgs(1, 2),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				o.Name = args[1]
			}
			if o.Comment == "" {
				o.Comment = "Imported from " + args[0]
			}
			return a.withEngine(func(e *engine.Engine) error {
				take := func(r io.Reader) error {
					img, err := e.ImportTar(a.ctx, r, o)
					if err == nil {
						say(a.stdout, "%s", img.ID)
					}
					return err
				}
				if u, err := url.Parse(args[0]); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
					return a.download(args[0], take)
				}
				return a.input(args[0], take)
			})
		},
	}
	c.Flags().StringArrayVarP(&o.Changes, "change", "c", nil, "Apply Dockerfile instruction to the created image")
	c.Flags().StringVarP(&o.Comment, "message", "m", "", "Set commit message for imported image")
	c.Flags().StringVar(&o.Platform, "platform", "", "Set platform of the image (os/arch[/variant])")
	return c
}

func (a *app) download(address string, f func(io.Reader) error) error {
	q, err := http.NewRequestWithContext(a.ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", address, resp.Status)
	}
	return f(resp.Body)
}

func (a *app) exportCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:                   "export [OPTIONS] CONTAINER",
		Short:                 "Export a container's filesystem as a tar archive",
		Args:                  cobra.ExactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.output(output, func(w io.Writer) error { return e.Export(a.ctx, args[0], w) })
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	return c
}

func (a *app) commitCommand() *cobra.Command {
	o := &engine.CommitOptions{}
	pause, noPause := true, false
	c := &cobra.Command{
		Use:                   "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short:                 "Create a new image from a container's changes",
		Args:                  cobra.RangeArgs(1, 2),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				o.Name = args[1]
			}
			o.NoPause = noPause || !pause
			return a.withEngine(func(e *engine.Engine) error {
				img, err := e.Commit(a.ctx, args[0], o)
				if err == nil {
					say(a.stdout, "%s", img.ID)
				}
				return err
			})
		},
	}
	c.Flags().StringVarP(&o.Author, "author", "a", "", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`)
	c.Flags().StringArrayVarP(&o.Changes, "change", "c", nil, "Apply Dockerfile instruction to the created image")
	c.Flags().StringVarP(&o.Comment, "message", "m", "", "Commit message")
	c.Flags().BoolVarP(&pause, "pause", "p", true, "Pause container during commit")
	c.Flags().BoolVar(&noPause, "no-pause", false, "Don't pause the container during commit")
	return c
}
