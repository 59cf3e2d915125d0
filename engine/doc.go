// Package engine is a complete container engine as a value: images, containers and volumes with their state in one
// folder. It puts the other packages together and writes down what they did.
//
//	e, err := engine.Open(ctx, "/var/lib/myprogram", nil)
//	defer e.Close()
//	_, err = e.Pull(ctx, "hello-world", nil)
//	c, err := e.Run(ctx, &engine.Config{Image: "hello-world"}, &engine.StartOptions{Stdout: os.Stdout})
//
// # What is on disk
//
// Below the folder given to [Open]:
//
//	images/, layers/        package image's and package layer's
//	volumes/                package volume's
//	containers/<id>/        container.json (a [Container]), upper/ and work/ (the writable layer), lock, halted (its restart
//	                        policy does not hold until the next start), health.json (a [Health]), and the files
//	                        that are bound at /etc/hosts, /etc/hostname and /etc/resolv.conf
//	containers/names/<name> the ID of the container that has the name
//	containers/lock         the lock under which containers are made and removed
//	events/                 log and log.1, what happened: an [Event] in a line of JSON each
//	tmp/                    what is being made or removed; who deletes a folder holds a lock on it
//
// # Several processes, crashes
//
// Any number of processes may use a folder. The one that runs a container holds the lock of its folder for as long. A
// container that is said to run, but whose lock is free, ended with its engine: whoever sees it first writes that down,
// with exit code 137. (The processes and control groups of such a container have been cleared away by package
// namespace's guardian.) What is in tmp is removed by the next [Open].
//
// A container with a [RestartPolicy] is started again by the supervisor ([Engine.Supervise]). When that is killed, and when the machine
// goes off, nothing is lost: that the container is to be started again is in its document, and the next Open with
// Options.StartSupervisor starts a supervisor that does it. Nothing of this package is started by itself when a machine boots: a unit that
// runs any command of the program then, such as `minidocker ps`, brings up the containers that ran.
//
// It needs root and Linux 5.10 or newer; elsewhere Open returns an error that satisfies errors.ErrUnsupported.
package engine
