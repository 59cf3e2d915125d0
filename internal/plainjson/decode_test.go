package plainjson

import (
	"encoding/json"
	"os"
	"strings"
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
	Time    time.Time                    `json:"time"`
	Bytes   []byte                       `json:"bytes"`
	Any     any                          `json:"any"`
	Quoted  struct{ A int }              `json:"quoted"`
	Odd     struct{ embedded }           `json:"odd"`
	Words   map[specs.Arch]string        `json:"words"`
	Number  json.Number                  `json:"number"`
	Float   float64                      `json:"float"`
	Array   [2]int                       `json:"array"`
	Other   []specs.LinuxSeccompOperator `json:"other"`
	Skipped string                       `json:"-"`
	//lint:ignore U1000 a field that no document names
	hidden string
}

type embedded struct{ B int }

var taken = []string{
	`{}`, ` {"Name" : "a" , "int":-128,"uint":65535,"big":18446744073709551615,"yes":true,"pointer":false} `,
	`{"list":[],"numbers":[1,null,-3],"nested":[[],["a","b"],null],"map":{"a":1,"b":2,"a":3},"Maps":{"x":{"A":"y"},"z":{}}}`,
	`{"list":["a","b\n\u00e9\ud83d\ude00","é"," ",null,"` + "\xff" + `"],"unknown":{"a":[1.5e3,{"b":null}],"c":"\"}"},"more":[true,false,null,-12]}`,
	`{"time":"2026-01-02T03:04:05.678Z","list":null,"map":null,"spec":null,"Name":null,"int":null}`, `{"map":{},"Skipped":"x","hidden":"y"}`,
	`null`, `{"other":["SCMP_CMP_NE"]}`, `{"quoted":{"A":1},"-":1,"":{}}`, `{"bytes":null}`, `{"\u004eame":"a"}`,
}

var left = []string{
	``, ` `, `{`, `{"Name":"a"} x`, `{"name":"a"}`, `{"NAME":"a"}`, `{"Name":"a","Name":"b"}`, `{"int":128}`, `{"int":1.0}`, `{"int":1e0}`,
	`{"int":01}`, `{"uint":-1}`, `{"big":18446744073709551616}`, `{"int":"1"}`, `{"Name":1}`, `{"list":{}}`, `{"list":["a",]}`, `{"list":["a"`,
	`{"map":[]}`, `{"yes":truth}`, `{"yes":tru`, `{"yes":1}`, `{"time":"x"}`, `{"time":null}`, `{"bytes":"YQ=="}`, `{"any":1}`, `{"Name":"\x"}`,
	`{"Name":"` + "\x01" + `"}`, `{"Name":"a}`, `{,}`, `{"a":}`, `{"a" 1}`, `{"unknown":1.}`, `{"unknown":[1,]}`, `nul`, `[]`, `"x"`, `1`, `{"spec":[]}`,
	`{"odd":{"B":1}}`, `{"words":{"a":"b"}}`, `{"number":1}`, `{"float":1}`, `{"array":[1]}`, `{"int":}`, `{"int":{}}`, `{"list":[1]}`,
	`{"unknown":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
}

func TestPlain(t *testing.T) {
	for _, s := range taken {
		require.True(t, same(t, []byte(s)), s)
	}
	for _, s := range left {
		require.False(t, same(t, []byte(s)), s)
	}
	for _, v := range []any{nil, document{}, (*document)(nil)} {
		require.Equal(t, json.Unmarshal([]byte("{}"), v), Unmarshal([]byte("{}"), v))
	}
}

// TestOdd: types that no configuration has mean to encoding/json what they do not say at first sight.
func TestOdd(t *testing.T) {
	type itself struct {
		time.Time
		B int
	}
	type odd struct {
		Number json.Number
		//lint:ignore SA5008 which encoding/json takes for a field named "-"
		Dash  int `json:"-,"`
		Named *itself
		Other struct { // without a name it does not decode itself
			time.Time
			B int
		}
	}
	for _, s := range []string{`{"Number":"x"}`, `{"Number":""}`, `{"Number":"1"}`, `{"Number":null}`, `{"-":1}`, `{"-":"x"}`, `{"Other":{"B":1}}`,
		`{"Other":"2026-01-02T03:04:05Z"}`, `{"Named":{"B":1}}`, `{"Named":"2026-01-02T03:04:05Z"}`, `{"Named":null}`, `{}`} {
		var got, want odd
		mine, theirs := Unmarshal([]byte(s), &got), json.Unmarshal([]byte(s), &want)
		require.Equal(t, theirs, mine, s)
		require.Equal(t, want, got, s)
	}
}

// TestConfig: what runtimes are given is plain.
func TestConfig(t *testing.T) {
	for _, name := range []string{"runc.json", "everything.json"} {
		b, err := os.ReadFile("../bundle/testdata/" + name)
		require.NoError(t, err)
		require.True(t, same(t, append(append([]byte(`{"spec":`), b...), '}')), name)
	}
}

// same says whether a document is taken for plain, and sees to it that what comes of it is what encoding/json makes of it.
func same(t *testing.T, b []byte) bool {
	t.Helper()
	var got, want document
	mine, theirs := Unmarshal(b, &got), json.Unmarshal(b, &want)
	require.Equal(t, theirs, mine, "%s", b)
	require.Equal(t, want, got, "%s", b)
	return plain(b, &document{})
}

func FuzzUnmarshal(f *testing.F) {
	for _, list := range [][]string{taken, left} {
		for _, s := range list {
			f.Add([]byte(s))
		}
	}
	b, err := os.ReadFile("../bundle/testdata/everything.json")
	require.NoError(f, err)
	f.Add(append(append([]byte(`{"spec":`), b...), '}'))
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b) })
}

func BenchmarkUnmarshal(b *testing.B) {
	config, err := os.ReadFile("../bundle/testdata/runc.json")
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, Unmarshal(config, &specs.Spec{}))
	}
}
