// Package dockerapi is the Docker Engine API over an engine, as an http.Handler: what the docker command, compose and the
// libraries of other languages speak.
//
//	s := &dockerapi.Server{Engine: e}
//	l, err := dockerapi.Listen(ctx, "unix:///run/myprogram.sock", nil)
//	err = s.Serve(ctx, l)
//
//	docker -H unix:///run/myprogram.sock run hello-world
//
// Containers that are started by it outlive the program (engine.StartOptions.Detach). Their networks and restart policies are a
// supervisor's: a program that serves the API calls [engine.Engine.Supervise] too, or gives its engine a StartSupervisor.
//
// # Versions
//
// Versions [MinVersion] to [MaxVersion] of the API are answered, by a prefix of the path, "/v1.44/…", or [MaxVersion] without one. What the
// engine has not is refused by its name: a field of a request with "not implemented: HostConfig.X", an endpoint with status 501.
//
// # Who may call it
//
// Whoever reaches this API is root of the host: it mounts any folder into a container. [Listen] therefore makes sockets that their owner
// alone may connect to, and listens at TCP addresses with certificates of clients only. Requests that a web page has a browser make are
// refused (an Origin, a cross-site Sec-Fetch-Site, a Host that is a name which somebody else's DNS can lead to this machine).
//
// On disk there is nothing but the socket.
package dockerapi
