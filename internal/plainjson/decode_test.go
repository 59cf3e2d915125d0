package plainjson

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// A document has a field of each kind.
type document struct {
	Spec    *specs.Spec `json:"spec,omitempty"`
	Name    string
	Int     int8           `json:"int"`
	Uint    uint16         `json:"uint"`
	Big     uint64         `json:"big"`
	Yes     bool           `json:"yes"`
	Pointer **bool         `json:"pointer"`
	List    []string       `json:"list"`
	Numbers []*int         `json:"numbers"`
	Nested  [][]string     `json:"nested"`
	Map     map[string]int `json:"map"`
	Maps    map[string]struct{ A *string }
	Time    time.Time `json:"time"`
	Bytes   []byte    `json:"bytes"`
	Any     any       `json:"any"`
	Skipped string    `json:"-"`
	hidden  string
}

var _ = document{}.hidden // which is there to be left alone

var plain = []string{
	`{}`, ` {"Name" : "a" , "int":-128,"uint":65535,"big":18446744073709551615,"yes":true,"pointer":false} `,
	`{"list":[],"numbers":[1,null,-3],"nested":[[],["a","b"],null],"map":{"a":1,"b":2,"a":3},"Maps":{"x":{"A":"y"},"z":{}}}`,
	`{"list":["a","b\n\u00e9\ud83d\ude00","é"," "],"unknown":{"a":[1,{"b":null}],"c":"\""},"more":[true,false,null,-12]}`,
	`{"time":"2026-01-02T03:04:05.678Z","list":null,"map":null,"spec":null,"Name":null,"int":null}`, `{"map":{},"Skipped":"x","hidden":"y"}`,
	`null`,
}

var odd = []string{
	``, ` `, `{`, `{"Name":"a"} x`, `{"name":"a"}`, `{"NAME":"a"}`, `{"Name":"a","Name":"b"}`, `{"int":128}`, `{"int":1.0}`, `{"int":1e0}`,
	`{"int":01}`, `{"uint":-1}`, `{"big":18446744073709551616}`, `{"int":"1"}`, `{"Name":1}`, `{"list":{}}`, `{"list":["a",]}`, `{"list":["a"`,
	`{"map":[]}`, `{"yes":truth}`, `{"yes":tru`, `{"time":"x"}`, `{"time":null}`, `{"bytes":"YQ=="}`, `{"any":1}`, `{"Name":"\x"}`,
	`{"Name":"` + "\x01" + `"}`, `{"Name":"a}`, `{,}`, `{"a":}`, `{"a" 1}`, `{"unknown":1.5}`, `{"unknown":[1,]}`, `{"list":[null,]}`, `nul`, `[]`, `"x"`,
	`{"\u004eame":"a"`, `{"unknown":` + deep + `}`, `{"nested":` + deep + `}`,
}

var deep = func() string {
	b := make([]byte, 0, 2*(maxDepth+1))
	for range maxDepth + 1 {
		b = append(b, '[')
	}
	for range maxDepth + 1 {
		b = append(b, ']')
	}
	return string(b)
}()

func TestPlain(t *testing.T) {
	for _, s := range plain {
		require.True(t, same(t, []byte(s)), s)
	}
	for _, s := range odd {
		require.False(t, same(t, []byte(s)), s)
	}
	require.False(t, Decode([]byte("{}"), nil))
	require.False(t, Decode([]byte("{}"), document{}))
	require.False(t, Decode([]byte("{}"), (*document)(nil)))
}

// TestConfig: what runtimes are given is plain.
func TestConfig(t *testing.T) {
	b, err := os.ReadFile("testdata/config.json")
	require.NoError(t, err)
	require.True(t, same(t, append(append([]byte(`{"spec":`), b...), '}')))
}

// same says whether Decode takes a document, and if so, that it is what encoding/json makes of it.
func same(t *testing.T, b []byte) bool {
	t.Helper()
	var got, want document
	ok := Decode(b, &got)
	if ok {
		require.NoError(t, json.Unmarshal(b, &want), "%s", b)
		require.Equal(t, want, got, "%s", b)
	}
	return ok
}

func FuzzDecode(f *testing.F) {
	for _, list := range [][]string{plain, odd} {
		for _, s := range list {
			f.Add([]byte(s))
		}
	}
	b, err := os.ReadFile("testdata/config.json")
	require.NoError(f, err)
	f.Add(append(append([]byte(`{"spec":`), b...), '}'))
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b) })
}

func BenchmarkDecode(b *testing.B) {
	config, err := os.ReadFile("testdata/config.json")
	require.NoError(b, err)
	for b.Loop() {
		if !Decode(config, &specs.Spec{}) {
			b.Fatal("it is not plain")
		}
	}
}
