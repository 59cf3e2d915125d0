// Package ocistate is the state folder of an OCI runtime: what is known of each container, kept where the commands that
// come later, and other tools, find it.
//
// Below the root there is a folder a container, <root>/<id>/, with these files:
//
//	state.json   the container, in the form that runc gives it: written last, so that a container exists when this does
//	exec.fifo    while the container is created and not started
//	groups.json  the control group's directories, noted before they are made
//	config.json  the configuration that the container was created with
//
// An id is claimed by the making of its folder. Who changes a container holds a lock (flock) on the folder; reading
// takes none. A folder without state.json that nobody holds is what a killed command left: its control group is
// in groups.json. What a status says is always derived, from the process that the pid and its start time name, in this run of the
// kernel, and from the FIFO and the freezer: so it is right after a crash, a reboot, and a reuse of the pid.
package ocistate
