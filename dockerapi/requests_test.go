package dockerapi

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
	apiregistry "github.com/moby/moby/api/types/registry"
	apivolume "github.com/moby/moby/api/types/volume"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

// A fieldCase sets one field of a request.
type fieldCase struct {
	path string
	set  func(request reflect.Value)
}

// fields are the fields of a type, and of the structs that they point to or hold.
func fields(t reflect.Type, path string, at func(reflect.Value) reflect.Value) (all []fieldCase) {
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		field := func(v reflect.Value) reflect.Value { return at(v).Field(i) }
		name := strings.TrimPrefix(path+"."+f.Name, ".")
		switch inner := f.Type; {
		case inner.Kind() == reflect.Pointer && inner.Elem().Kind() == reflect.Struct && inner.Elem().PkgPath() != "net/netip" && name != "ClusterVolumeSpec" &&
			name != "Healthcheck" && name != "ConfigFrom":
			all = append(all, fields(inner.Elem(), name, func(v reflect.Value) reflect.Value {
				p := field(v)
				if p.IsNil() {
					p.Set(reflect.New(inner.Elem()))
				}
				return p.Elem()
			})...)
		case name == "IPAM.Config":
			all = append(all, fields(inner.Elem(), name, func(v reflect.Value) reflect.Value {
				s := field(v)
				if s.Len() == 0 {
					s.Set(reflect.MakeSlice(inner, 1, 1))
				}
				return s.Index(0)
			})...)
		default:
			all = append(all, fieldCase{name, func(v reflect.Value) {
				fill(field(v))
				if name == "EnableIPv4" { // true is as if it were not there
					field(v).Set(reflect.ValueOf(new(bool)))
				}
			}})
		}
	}
	return all
}

// fill sets a value to something else than its zero.
func fill(v reflect.Value) {
	switch value := v.Addr().Interface().(type) {
	case *netip.Addr:
		*value = netip.MustParseAddr("10.9.0.7")
		return
	case *netip.Prefix:
		*value = netip.MustParsePrefix("10.9.0.0/24")
		return
	case *apinetwork.Port:
		*value = apinetwork.MustParsePort("80/tcp")
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("value")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(2)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
			return
		}
	}
}

// requireAllFields sets each field of a request alone, and looks whether what comes of it is something else, or an error that names it.
// Those that say nothing are listed, with the reason.
func requireAllFields[Q any](t *testing.T, translate func(*Q) (any, error), silent map[string]string) {
	t.Helper()
	nothing, err := translate(new(Q))
	require.NoError(t, err)
	seen := make(map[string]bool)
	for _, f := range fields(reflect.TypeFor[Q](), "", func(v reflect.Value) reflect.Value { return v }) {
		q := new(Q)
		f.set(reflect.ValueOf(q).Elem())
		got, err := translate(q)
		last := f.path[strings.LastIndexByte(f.path, '.')+1:]
		switch {
		case silent[f.path] != "":
			seen[f.path] = true
			require.NoError(t, err, f.path)
			require.Equal(t, nothing, got, "%s is not silent", f.path)
		case err != nil:
			require.Contains(t, strings.ToLower(strings.ReplaceAll(err.Error(), "AuxiliaryAddresses", "AuxAddress")), strings.ToLower(last), f.path)
		default:
			require.NotEqual(t, nothing, got, "%s is ignored", f.path)
		}
	}
	for path := range silent {
		require.True(t, seen[path], "there is no field %s", path)
	}
}

// TestRequestFields: no field of a request is ignored.
func TestRequestFields(t *testing.T) {
	requireAllFields(t, func(q *apinetwork.CreateRequest) (any, error) {
		o, err := networkOptionsOf(q)
		if err != nil && strings.Contains(err.Error(), `"value"`) { // of an option that is named "value"
			err = fmt.Errorf("Options: %w", err)
		}
		return []any{q.Name, o}, err
	}, map[string]string{"Attachable": "containers can be connected to any network"})
	requireAllFields(t, func(q *apinetwork.EndpointSettings) (any, error) { return connectionOf("x", q) }, map[string]string{
		"NetworkID": "an answer", "EndpointID": "an answer", "Gateway": "an answer", "IPAddress": "an answer", "IPPrefixLen": "an answer",
		"IPv6Gateway": "an answer", "GlobalIPv6Address": "an answer", "GlobalIPv6PrefixLen": "an answer", "DNSNames": "an answer",
	})
	requireAllFields(t, func(q *apivolume.CreateRequest) (any, error) {
		o, err := volumeOptionsOf(q)
		if err != nil && strings.Contains(err.Error(), "plugin value") {
			err = fmt.Errorf("Driver: %w", err)
		}
		if err != nil && strings.Contains(err.Error(), `option: "value"`) {
			err = fmt.Errorf("DriverOpts: %w", err)
		}
		return []any{q.Name, o}, err
	}, nil)
	requireAllFields(t, func(q *container.Config) (any, error) {
		o, i := &engine.CommitOptions{}, &ocispec.ImageConfig{}
		err := addEdit(o, q)
		if err == nil {
			o.Edit(i)
		}
		return []any{i, o.Healthcheck}, err
	}, map[string]string{
		"Hostname": "the container's", "Domainname": "the container's", "Image": "the container's", "AttachStdin": "a client's", "AttachStdout": "a client's",
		"AttachStderr": "a client's", "Tty": "the container's", "OpenStdin": "the container's", "StdinOnce": "the container's",
	})
	requireAllFields(t, func(q *apiregistry.AuthConfig) (any, error) {
		c, err := credentialOf(q)
		return []any{c, registry.HostOf(q.ServerAddress)}, err
	}, nil)
}

func TestDecodeAuth(t *testing.T) {
	const text = `{"username":"u??>","password":"p~~~","serveraddress":"https://index.docker.io/v1/"}`
	want := registry.Credential{Username: "u??>", Password: "p~~~"}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("X-Registry-Auth", e.EncodeToString([]byte(text)))
		cred, err := credentialFor(r, "docker.io")
		require.NoError(t, err)
		require.Equal(t, want, cred)
		_, err = credentialFor(r, "quay.io")
		require.EqualError(t, err, "X-Registry-Auth is for the registry docker.io, and not for quay.io")
		require.Equal(t, http.StatusBadRequest, status(err))
	}
	for _, header := range []string{"!", "e30!", "eA", base64.URLEncoding.EncodeToString([]byte(`{"username":"secret`)), base64.URLEncoding.EncodeToString([]byte(`{"auth":"x"}`))} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("X-Registry-Auth", header)
		_, err := credentialFor(r, "docker.io")
		require.Error(t, err, header)
		require.NotContains(t, err.Error(), "secret")
		require.Equal(t, http.StatusBadRequest, status(err))
	}
	both, err := credentialOf(&apiregistry.AuthConfig{Auth: base64.StdEncoding.EncodeToString([]byte("u:p:q"))})
	require.NoError(t, err)
	require.Equal(t, registry.Credential{Username: "u", Password: "p:q"}, both)
}

// FuzzAuth: no header makes a credential for another registry than it names, or a panic.
func FuzzAuth(f *testing.F) {
	f.Add("e30=", "docker.io")
	f.Add(base64.URLEncoding.EncodeToString([]byte(`{"username":"u","password":"p","serveraddress":"localhost:5000"}`)), "localhost:5000")
	f.Add(base64.URLEncoding.EncodeToString([]byte(`{"auth":"dTpw","serveraddress":"https://index.docker.io/v1/"}`)), "docker.io")
	f.Add(base64.URLEncoding.EncodeToString([]byte(`null`)), "docker.io")
	f.Fuzz(func(t *testing.T, header, host string) {
		r := &http.Request{Header: http.Header{"X-Registry-Auth": {header}}}
		cred, err := credentialFor(r, host)
		if err != nil {
			return
		}
		a, err := decodeAuth(header)
		if err != nil {
			t.Fatal(err)
		}
		if !cred.IsZero() && a.ServerAddress != "" && registry.HostOf(a.ServerAddress) != host {
			t.Errorf("%q is shown to %q", a.ServerAddress, host)
		}
	})
}

// FuzzImageQuery: no filter, platform or name makes a panic.
func FuzzImageQuery(f *testing.F) {
	f.Add(`{"dangling":["true"],"until":["24h"],"reference":["a*"]}`, `{"os":"linux","architecture":"arm64","variant":"v8"}`, "a/b", "c")
	f.Add(`{"before":{"x":true},"label":["a=b"]}`, "linux/arm/v7", "h:5000/a:b", "")
	f.Fuzz(func(t *testing.T, filter, platform, repo, tag string) {
		q := query{map[string][]string{"filters": {filter}, "platform": {platform}, "repo": {repo}, "tag": {tag}}}
		if got, err := q.filters("dangling", "label", "label!", "before", "since", "reference", "until"); err == nil {
			_, _ = got.images()
			_, _ = got.flag("dangling")
			_ = got.labels(map[string]string{"a": "b"})
		}
		_, _ = q.platform(httptest.NewRequest("GET", "/", nil), "1.24")
		if name, err := q.repoTag(); err == nil && name != "" {
			if _, err := registry.ParseReference(name); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

func TestQueryPlatform(t *testing.T) {
	r, err := versioned(httptest.NewRequest("GET", "/", nil))
	require.NoError(t, err)
	of := func(values ...string) (string, error) {
		return query{map[string][]string{"platform": values}}.platform(r, "1.24")
	}
	for text, want := range map[string]string{
		"": "", "linux/arm64": "linux/arm64", `{"os":"linux","architecture":"arm","variant":"v7"}`: "linux/arm/v7", `{"os":"linux","architecture":"amd64"}`: "linux/amd64",
	} {
		got, err := of(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{`{`, `{"os":"linux"}`, `{"os":"windows","architecture":"amd64","os.version":"10"}`} {
		_, err := of(text)
		require.Error(t, err, text)
	}
	_, err = of("a", "b")
	require.ErrorContains(t, err, "multiple platform parameters")
	got, err := query{map[string][]string{"platform": {"{"}}}.platform(r, "1.99")
	require.NoError(t, err)
	require.Empty(t, got, "clients of older versions have sent it in vain")
}

// TestAbsent: what is not there says so.
func TestAbsent(t *testing.T) {
	s := &Server{}
	for target, text := range map[string]string{
		"POST /build/cancel": "not implemented: cancel of builds", "POST /session": "not implemented: build by BuildKit",
		"POST /grpc": "not implemented: build by BuildKit", "GET /images/search": "not implemented: search of registries", "PUT /volumes/x": "not implemented: cluster volumes",
		"GET /plugins/privileges": "not implemented: plugins", "GET /nodes": "not implemented: swarm", "POST /secrets/create": "not implemented: swarm",
	} {
		method, path, _ := strings.Cut(target, " ")
		requireError(t, ask(t, s, method, path, nil), http.StatusNotImplemented, text)
	}
	for _, target := range []string{"GET /images/x", "GET /images//json", "POST /images/json", "GET /images/a/nothing", "GET /distribution/x", "PATCH /networks"} {
		method, path, _ := strings.Cut(target, " ")
		requireError(t, ask(t, s, method, path, nil), http.StatusNotFound, "page not found")
	}
}
