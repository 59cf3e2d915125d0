package dockerapi

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
	apiregistry "github.com/moby/moby/api/types/registry"
	apivolume "github.com/moby/moby/api/types/volume"
	"github.com/stretchr/testify/require"
)

// An endpoint is one of Docker's: what a request may have.
type endpoint struct {
	method, path           string
	queries, headers, body []string
}

// endpoints reads testdata/endpoints-1.51.txt: of that version's description the names. Plugins and swarm have
// none, and ClusterVolumeSpec no fields, for nothing of these is there.
func endpoints(t *testing.T) (all []*endpoint) {
	t.Helper()
	b, err := os.ReadFile("testdata/endpoints-" + MaxVersion + ".txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if line[0] != '\t' {
			all = append(all, &endpoint{method: f[0], path: f[1]})
			continue
		}
		last := all[len(all)-1]
		*map[string]*[]string{"query": &last.queries, "header": &last.headers, "body": &last.body}[f[0]] = f[1:]
	}
	return all
}

// A program is this package's source: what is declared by a name, and the names of the handlers of a route's pattern.
type program struct {
	declared map[string][]ast.Node
	handlers map[string][]string
}

func source(t *testing.T) *program {
	t.Helper()
	p := &program{make(map[string][]ast.Node), make(map[string][]string)}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(f, p.look)
	}
	return p
}

// look notes declarations and calls of handle and byName.
func (p *program) look(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncDecl:
		p.declared[n.Name.Name] = append(p.declared[n.Name.Name], n.Body)
	case *ast.ValueSpec:
		for _, name := range n.Names {
			p.declared[name.Name] = append(p.declared[name.Name], n)
		}
	case *ast.CallExpr:
		called, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || len(n.Args) != 2 {
			break
		}
		switch called.Sel.Name {
		case "handle":
			names, _ := words(n.Args[1])
			p.handlers[literal(n.Args[0])] = names
		case "byName":
			for _, e := range n.Args[1].(*ast.CompositeLit).Elts {
				verb := e.(*ast.KeyValueExpr)
				names, _ := words(verb.Value)
				p.handlers[literal(n.Args[0])+" "+literal(verb.Key)] = names
			}
		}
	}
	return true
}

func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok {
		text, _ := strconv.Unquote(l.Value)
		return text
	}
	return ""
}

// words are the names and the texts in a part of the source.
func words(n ast.Node) (names, texts []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			names = append(names, n.Name)
		case *ast.BasicLit:
			texts = append(texts, literal(n))
		}
		return true
	})
	return names, texts
}

// reached are the names and the texts of some declarations and of all that they name.
func (p *program) reached(from []string) (seen, all map[string]bool) {
	seen, all = make(map[string]bool), make(map[string]bool)
	for len(from) > 0 {
		name := from[0]
		from = from[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		for _, n := range p.declared[name] {
			names, texts := words(n)
			from = append(from, names...)
			for _, text := range texts {
				all[text] = true
			}
		}
	}
	all[apiregistry.AuthHeader] = seen["AuthHeader"]
	return seen, all
}

// unread are parameters and fields that nothing reads, each with the reason.
var unread = map[string]string{
	"POST /commit MacAddress":                           "the container's, of which an image has none",
	"POST /networks/{id}/disconnect Force":              "an endpoint goes with its container: none is left behind",
	"POST /auth email":                                  "registries do not want it",
	"POST /containers/{id}/start detachKeys":            "it is for attach; dockerd does not read it either",
	"PUT /containers/{id}/archive noOverwriteDirNonDir": "it is always so",
	"GET /images/json all":                              "there are no images between two of a build",
	"GET /images/json digests":                          "digests are always shown",
	"POST /images/load quiet":                           "no progress is shown",
	"DELETE /images/{name} noprune":                     "no image without a name is another's parent",
	"POST /build/prune all":                             "there is one kind of cache, and all of it is removed",
	"POST /containers/{id}/update Init":                 "an error of the description: it is none of dockerd's either",
}

// TestEndpoints: each endpoint of Docker's is there, or says that it is not; what a request to it may have is read by its handler, or says why
// not. That what is read is heeded, or refused by its name, TestEveryField and TestRequestFields say of bodies, and of parameters the tests of
// each endpoint.
func TestEndpoints(t *testing.T) {
	s := &Server{}
	s.init()
	p := source(t)
	variable := regexp.MustCompile(`\{\w+\}`)
	type body struct {
		of     reflect.Type
		reader string // a function that reads it, if that is not the handler alone; none where a test sets each of its fields
	}
	const each = ""
	bodies := map[string]body{
		"POST /auth":                     {reflect.TypeFor[apiregistry.AuthConfig](), each},
		"POST /commit":                   {reflect.TypeFor[container.Config](), each},
		"POST /containers/create":        {reflect.TypeFor[createBody](), each},
		"POST /containers/{id}/update":   {reflect.TypeFor[updateBody](), each},
		"POST /containers/{id}/exec":     {reflect.TypeFor[container.ExecCreateRequest](), "startExec"},
		"POST /exec/{id}/start":          {reflect.TypeFor[container.ExecStartRequest](), "startExec"},
		"POST /networks/create":          {reflect.TypeFor[apinetwork.CreateRequest](), each},
		"POST /networks/{id}/connect":    {reflect.TypeFor[apinetwork.ConnectRequest](), each},
		"POST /networks/{id}/disconnect": {reflect.TypeFor[apinetwork.DisconnectRequest](), "disconnectNetwork"},
		"POST /volumes/create":           {reflect.TypeFor[apivolume.CreateRequest](), each},
	}
	there, found := 0, make(map[string]bool)
	for _, e := range endpoints(t) {
		name, target := e.method+" "+e.path, variable.ReplaceAllString(e.path, "x")
		_, pattern := s.mux.Handler(httptest.NewRequest(e.method, target, nil))
		if strings.HasSuffix(pattern, "{rest...}") {
			if at := e.method + " " + path.Base(target); p.handlers[at] != nil {
				pattern = at
			}
		}
		handlers := p.handlers[pattern]
		if handlers == nil { // then it is one of the absent
			requireError(t, ask(t, s, e.method, target, nil), http.StatusNotImplemented, "not implemented: ")
			continue
		}
		there++
		require.NotEqual(t, "/", pattern, name)
		b := bodies[name]
		names, texts := p.reached(append(handlers, b.reader))
		for _, q := range append(e.queries, e.headers...) {
			if key := name + " " + q; !texts[q] {
				found[key] = true
				if unread[key] == "" {
					t.Errorf("%s is not read", key)
				}
			}
		}
		for _, field := range e.body {
			if key := name + " " + field; fieldAt(b.of, field) == "" || b.reader != each && !names[fieldAt(b.of, field)] {
				found[key] = true
				if unread[key] == "" {
					t.Errorf("%s is not read", key)
				}
			}
		}
	}
	require.Len(t, found, len(unread), "some of the parameters that are said not to be read are")
	require.Greater(t, there, 60)
}

// fieldAt is the name of a type's field that is at a path of names in JSON.
func fieldAt(t reflect.Type, path string) string {
	name, rest, more := strings.Cut(path, ".")
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	for _, f := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || !strings.EqualFold(cmp.Or(key, f.Name), name):
		case more:
			return fieldAt(f.Type, rest)
		default:
			return f.Name
		}
	}
	return ""
}
