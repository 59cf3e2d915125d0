// Package usernet is networking without root: the TCP/IP stack of gVisor in this process, on a tap device in each container's
// network namespace. What a container sends becomes sockets of this process.
//
//	store, err := network.Open(dir, &network.Options{UserMode: usernet.New()})
//
// A container reaches the world by tcp, udp and echo requests of ICMP, as whoever runs the program does, and its neighbours on
// the network directly. It reaches no loopback address of the host. Published ports are sockets of this process; the client's
// address is kept. Containers on one network reach each other if this process attached them. The network's gateway is a resolver
// of names at port 53.
//
// It needs Linux ≥ 5.10 with tun, /dev/net/tun that the user may open, and for a container in a user namespace of its own that the
// program made that. Echo requests need a group within net.ipv4.ping_group_range.
package usernet
