package dockerapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// The versions of the API that are answered. What is new in later ones than MaxVersion is not there; up to it old clients find the
// fields that they read.
const (
	MinVersion = "1.24"
	MaxVersion = "1.51"
)

// A handler answers a request, or returns the error that is sent.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle has requests of a pattern of http.ServeMux, without the version's prefix, answered by h.
func (s *Server) handle(pattern string, h handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
			return
		}
		s.log.Debug("request", "method", r.Method, "path", r.URL.Path)
	})
}

// routes is the table of endpoints; each resource's are in its file.
func (s *Server) routes() {
	s.systemRoutes()
	s.containerRoutes()
	s.execRoutes()
	s.imageRoutes()
	s.networkRoutes()
	s.volumeRoutes()
	for _, p := range []string{"/", "/images", "/distribution"} { // of the last two, ServeMux would redirect to what is below them
		s.handle(p, func(http.ResponseWriter, *http.Request) error { return errNoPage })
	}
}

// absent are endpoints that Docker has and this server has not.
func (s *Server) absent(what string, patterns ...string) {
	for _, p := range patterns {
		s.handle(p, func(http.ResponseWriter, *http.Request) error {
			return failure(http.StatusNotImplemented, "not implemented: %s", what)
		})
	}
}

type versionKey struct{}

// A version is one of the API's: 1.minor.
type version int

func (v version) String() string { return "1." + strconv.Itoa(int(v)) }

// versionOf returns the version that a request is answered in.
func versionOf(r *http.Request) version {
	v, _ := r.Context().Value(versionKey{}).(version)
	return v
}

func parseVersion(s string) (version, bool) {
	minor, ok := strings.CutPrefix(s, "1.")
	n, err := strconv.ParseUint(minor, 10, 16)
	return version(n), ok && err == nil && strconv.FormatUint(n, 10) == minor
}

func mustVersion(s string) version {
	v, _ := parseVersion(s)
	return v
}

// versioned takes the version off the request's path.
func versioned(r *http.Request) (*http.Request, error) {
	v, rest := mustVersion(MaxVersion), r.URL.Path
	if prefix, ok := strings.CutPrefix(r.URL.Path, "/v"); ok {
		first, more, _ := strings.Cut(prefix, "/")
		if asked, ok := parseVersion(first); ok {
			switch {
			case asked > v:
				return nil, badRequest("client version %s is too new. Maximum supported API version is %s", asked, MaxVersion)
			case asked < mustVersion(MinVersion):
				return nil, badRequest("client version %s is too old. Minimum supported API version is %s, "+
					"please upgrade your client to a newer version", asked, MinVersion)
			}
			v, rest = asked, "/"+more
		}
	}
	// http.ServeMux would answer a path that is not clean with a redirection, at which a client's POST becomes a GET.
	if clean := path.Clean(rest); !path.IsAbs(rest) || rest != clean && rest != clean+"/" {
		return nil, errNoPage
	}
	if rest != "/" {
		rest = strings.TrimSuffix(rest, "/")
	}
	r = r.WithContext(context.WithValue(r.Context(), versionKey{}, v))
	u := *r.URL
	u.Path, u.RawPath = rest, ""
	r.URL = &u
	return r, nil
}

// headers are those of every answer.
func (s *Server) headers(h http.Header) {
	h.Set("Api-Version", MaxVersion)
	h.Set("Docker-Experimental", "false")
	h.Set("Ostype", runtime.GOOS)
	h.Set("Server", "caisson/"+s.version()+" ("+runtime.GOOS+")")
	h.Set("X-Content-Type-Options", "nosniff")
}

// admit refuses what a web page has a browser send: no client of the API is a page.
func (s *Server) admit(r *http.Request) error {
	if origin := r.Header.Get("Origin"); origin != "" && !ownWebsocket(r, origin) {
		return failure(http.StatusForbidden, "requests of web pages are refused: Origin %q", origin)
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" {
		return failure(http.StatusForbidden, "requests of web pages are refused: Sec-Fetch-Site %q", site)
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if r.TLS != nil || local == nil || local.Network() == "unix" || s.mayBeHost(r.Host) {
		return nil
	}
	return failure(http.StatusForbidden, "Host %q is refused: it is neither an address nor localhost", r.Host)
}

// mayBeHost says whether no page of elsewhere can have the name: by its own DNS any other one leads here (DNS rebinding).
func (s *Server) mayBeHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost") || slices.ContainsFunc(s.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// A query is a request's parameters.
type query struct{ url.Values }

func queryOf(r *http.Request) query { return query{r.URL.Query()} }

// bool reads as Docker does: everything but these is true.
func (q query) bool(name string) bool {
	switch strings.ToLower(strings.TrimSpace(q.Get(name))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// int reads a number; missing is what it is if it is not there.
func (q query) int(name string, missing int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, badRequest("invalid %s: %q is not a number", name, text)
	}
	return n, nil
}

var errNoPage = &httpError{http.StatusNotFound, errors.New("page not found")}
