// Package job is what the command vm and the first program in its machine tell each other.
package job

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// File is where a Job lies, as JSON, on the machine's disk.
const File = "/vm.json"

// Runner is where the machine's first program lies on the disk of a machine with systemd, which runs it as Unit.
const (
	Runner = "/vm-runner"
	Unit   = "tests.service"
)

// Modules is where the machine has those of the kernel's modules that tests take out and put in again: Removable, as NAME.ko.
const Modules = "/modules"

// OnDemand is where the machine has modules that tests put in: in the order of their names.
const OnDemand = "/modules-on-demand"

// Removable are in the order in which they can be put in.
var Removable = []string{"veth", "macvlan", "bridge", "br_netfilter", "nft_meta_bridge"}

// BootParameter is the kernel's parameter that says how often the machine was started with its disk, from one on.
const BootParameter = "caisson.boot="

// A Job is what the machine does.
type Job struct {
	// Token marks the lines of a Report among everything else that the console shows.
	Token   string
	Cgroup  string // v2, v1 or hybrid
	Systemd bool   // runs as the first process
	Env     []string
	Boots   int // how often the machine may be started, if it goes off
	Runs    []Run
}

// A Run is a program to run: a package's test binary.
type Run struct {
	Name string
	Dir  string
	Args []string
}

// Begin tells that a run begins.
func Begin(w io.Writer, token, name string) error {
	_, err := fmt.Fprintf(w, "\n%s begin %s\n", token, name)
	return err
}

// End tells that a run ended with an exit code; 0 is success.
func End(w io.Writer, token, name string, code int, took time.Duration) error {
	_, err := fmt.Fprintf(w, "\n%s end %s %d %v\n", token, name, code, took.Round(time.Millisecond))
	return err
}

// Done tells that all runs ended.
func Done(w io.Writer, token string) error {
	_, err := fmt.Fprintf(w, "\n%s done\n", token)
	return err
}

// A Result is how a run ended.
type Result struct {
	Name string
	Code int
	Took string
}

// Follow reads the console, copies what is not a report to w, and returns the results when the machine tells that it
// is done, or when the console ends: done says which. begun is the name of a run that has not ended.
func Follow(console io.Reader, token string, w io.Writer) (results []Result, begun string, done bool) {
	r := bufio.NewReader(console)
	for {
		line, err := r.ReadString('\n')
		text := strings.TrimRight(line, "\r\n")
		if i := strings.Index(text, token+" "); i >= 0 {
			fields := strings.Fields(text[i+len(token):])
			switch {
			case len(fields) == 1 && fields[0] == "done":
				done = true
			case len(fields) == 2 && fields[0] == "begin":
				begun = fields[1]
			case len(fields) == 4 && fields[0] == "end":
				begun = ""
				code := 1
				if _, err := fmt.Sscan(fields[2], &code); err != nil {
					code = 1
				}
				results = append(results, Result{fields[1], code, fields[3]})
			}
			text = strings.TrimRight(text[:i], " ")
		}
		if text != "" {
			_, _ = fmt.Fprintln(w, text)
		}
		if err != nil {
			return results, begun, done
		}
	}
}
