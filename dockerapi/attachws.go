package dockerapi

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/websocket"
)

// websocketEnd bounds how long a client may take to be told of the end.
const websocketEnd = time.Second

// attachByWebsocket is attach with messages of a websocket in place of the connection. What the container prints to both streams comes as it is.
func (s *Server) attachByWebsocket(w http.ResponseWriter, r *http.Request) error {
	if !isWebsocket(r) {
		return badRequest("attach by websocket: the request asks for no upgrade to a websocket")
	}
	q := queryOf(r)
	if versionOf(r) < mustVersion("1.42") { // then these parameters were not looked at
		q.Set("stdin", "1")
		q.Set("stdout", "1")
		q.Set("stderr", "1")
	}
	return s.attach(r, q, func(_ bool, do func(*hijacked)) error {
		taken := &taking{ResponseWriter: w}
		ws := websocket.Server{Handler: func(c *websocket.Conn) {
			c.PayloadType = websocket.BinaryFrame
			h := newHijacked(r, taken.conn)
			defer h.close()
			h.conn, h.in, h.raw = c, c, true
			do(h)
			_ = c.SetWriteDeadline(time.Now().Add(websocketEnd))
			_ = c.Close()
		}}
		ws.ServeHTTP(taken, r)
		return nil
	})
}

func isWebsocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// ownWebsocket says whether a request's origin is this server, which has no pages: libraries for websockets say so of themselves.
func ownWebsocket(r *http.Request, origin string) bool {
	_, host, _ := strings.Cut(origin, "://")
	return isWebsocket(r) && host == r.Host && strings.HasPrefix(origin, "http")
}

// A taking is an http.Hijacker that notes the connection.
type taking struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (t *taking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if a, ok := t.ResponseWriter.(*answer); ok && err == nil {
		a.begun = true
	}
	t.conn = c
	return c, rw, err
}
