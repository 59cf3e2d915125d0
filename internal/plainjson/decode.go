package plainjson

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// Unmarshal does what json.Unmarshal does with a v that points at its type's zero value, and returns its errors. Strings may
// share the memory of one copy of data.
func Unmarshal(data []byte, v any) error {
	if plain(data, v) {
		return nil
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		p.Elem().SetZero()
	}
	return json.Unmarshal(data, v)
}

// plain decodes data if that is well-formed, and plain: structs without embedded ones, pointers, slices, maps by string, strings,
// integers and booleans, and types that decode themselves. If it is not, what v points at is of no use.
func plain(data []byte, v any) bool {
	p := reflect.ValueOf(v)
	d := &decoder{s: string(data), known: make(map[reflect.Type]*known)}
	if p.Kind() != reflect.Pointer || p.IsNil() || !wellFormed(d.s) {
		return false
	}
	return d.value(p.Elem())
}

// A decoder goes through a document that is known to be well-formed: whatever begins also ends.
type decoder struct {
	s     string
	at    int
	known map[reflect.Type]*known
}

// known is what there is to know of a type that has a name.
type known struct {
	itself bool // it decodes itself
	odd    bool // a struct that is not plain
	fields []field
}

// A field is one of a struct that a document may name.
type field struct {
	name  string
	index int
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (d *decoder) look(t reflect.Type) *known {
	k := d.known[t]
	if k != nil {
		return k
	}
	k = &known{}
	d.known[t] = k
	if p := reflect.PointerTo(t); p.NumMethod() > 0 {
		_, text := p.MethodByName("UnmarshalText")
		k.itself = text || p.Implements(unmarshaler)
	}
	if !k.itself && t.Kind() == reflect.Struct {
		k.look(t)
	}
	return k
}

// look finds the fields of a struct.
func (k *known) look(t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			k.odd = true
		case !f.IsExported() || f.Tag.Get("json") == "-":
			continue
		case options != "" && options != "omitempty" || strings.ContainsFunc(name, unusual) || k.find(name) >= 0:
			k.odd = true
		case name == "":
			name = f.Name
		}
		k.fields = append(k.fields, field{name, i})
	}
	const most = 64 // bits of what was seen
	k.odd = k.odd || len(k.fields) > most
}

// unusual is what names of fields are not made of.
func unusual(r rune) bool {
	return r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

func (k *known) find(name string) int {
	for i := range k.fields {
		if k.fields[i].name == name {
			return i
		}
	}
	return -1
}

// peek returns the byte that the next value begins with, or that ends what the values are in.
func (d *decoder) peek() byte {
	for {
		switch c := d.s[d.at]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
			d.at++
		default:
			return c
		}
	}
}

func (d *decoder) value(v reflect.Value) bool {
	c, t := d.peek(), v.Type()
	k := &known{}
	if t.PkgPath() != "" {
		if k = d.look(t); k.itself {
			return d.itself(v)
		}
		if t == reflect.TypeFor[json.Number]() { // whose strings are numbers
			return false
		}
	}
	if c == 'n' {
		d.literal()
		switch t.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice:
			v.SetZero()
		}
		return true
	}
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		return d.value(v.Elem())
	case reflect.Struct:
		if k = d.look(t); k.odd || k.itself {
			return false
		}
		var seen uint64
		return c == '{' && d.object(func(name string) bool { return d.field(v, k, name, &seen) })
	case reflect.Map:
		return c == '{' && d.mapping(v)
	case reflect.Slice:
		return c == '[' && d.slice(v)
	case reflect.String:
		s, ok := d.text()
		v.SetString(s)
		return ok
	case reflect.Bool:
		v.SetBool(c == 't')
		return (c == 't' || c == 'f') && d.literal() != ""
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(d.literal(), 10, t.Bits())
		v.SetInt(n)
		return err == nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(d.literal(), 10, t.Bits())
		v.SetUint(n)
		return err == nil
	}
	return false
}

// itself has a value decode itself.
func (d *decoder) itself(v reflect.Value) bool {
	from := d.at
	d.skip()
	u, ok := v.Addr().Interface().(json.Unmarshaler)
	return ok && d.s[from] != 'n' && u.UnmarshalJSON([]byte(d.s[from:d.at])) == nil
}

// object has each member's value decoded.
func (d *decoder) object(member func(name string) bool) bool {
	d.at++
	for d.peek() != '}' {
		name, ok := d.text()
		if !ok {
			return false
		}
		d.peek()
		if !member(name) {
			return false
		}
	}
	d.at++
	return true
}

// field decodes a struct's field. seen has a bit for each that was there: encoding/json merges what comes twice.
func (d *decoder) field(v reflect.Value, k *known, name string, seen *uint64) bool {
	if i := k.find(name); i >= 0 {
		if *seen&(1<<i) != 0 {
			return false
		}
		*seen |= 1 << i
		return d.value(v.Field(k.fields[i].index))
	}
	for i := range k.fields {
		if strings.EqualFold(k.fields[i].name, name) { // which encoding/json takes for the same
			return false
		}
	}
	d.skip()
	return true
}

func (d *decoder) mapping(v reflect.Value) bool {
	t := v.Type()
	if t.Key() != reflect.TypeFor[string]() {
		return false
	}
	m := reflect.MakeMap(t)
	v.Set(m)
	return d.object(func(name string) bool {
		e := reflect.New(t.Elem()).Elem()
		ok := d.value(e)
		m.SetMapIndex(reflect.ValueOf(name), e)
		return ok
	})
}

func (d *decoder) slice(v reflect.Value) bool {
	t := v.Type()
	if t.Elem().Kind() == reflect.Uint8 { // bytes are base64
		return false
	}
	v.Set(reflect.MakeSlice(t, 0, 0))
	words, _ := v.Addr().Interface().(*[]string)
	d.at++
	for n := 1; ; n++ {
		switch c := d.peek(); {
		case c == ']':
			d.at++
			return true
		case c == '"' && words != nil: // without reflection
			s, ok := d.text()
			if !ok {
				return false
			}
			*words = append(*words, s)
		default:
			v.Grow(1)
			v.SetLen(n)
			if !d.value(v.Index(n - 1)) {
				return false
			}
		}
	}
}

// text passes a string, if one is next, and returns it.
func (d *decoder) text() (string, bool) {
	if d.s[d.at] != '"' {
		return "", false
	}
	from := d.at
	if !d.pass() {
		return d.s[from+1 : d.at-1], true
	}
	var s string
	err := json.Unmarshal([]byte(d.s[from:d.at]), &s)
	return s, err == nil
}

// pass passes a string, and says whether there is more in it than stands for itself.
func (d *decoder) pass() (coded bool) {
	for d.at++; ; d.at++ {
		switch c := d.s[d.at]; {
		case c == '"':
			d.at++
			return coded
		case c == '\\':
			coded = true
			d.at++
		case c >= 0x80: // it may be no UTF-8
			coded = true
		}
	}
}

// literal passes a number, true, false or null, if one is next, and returns it.
func (d *decoder) literal() string {
	from := d.at
	for d.at < len(d.s) && strings.IndexByte(" \t\n\r,:{}[]\"", d.s[d.at]) < 0 {
		d.at++
	}
	return d.s[from:d.at]
}

// skip passes a value of any kind.
func (d *decoder) skip() {
	for depth := 0; ; {
		switch d.peek() {
		case '{', '[':
			depth++
			d.at++
		case '}', ']':
			depth--
			d.at++
		case '"':
			d.pass()
		default:
			d.literal()
		}
		if depth == 0 {
			return
		}
	}
}
